"""Splits of a data set that has changed: cases keep their parts, the same seed assigns new subjects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ldseg.data.cases import Case
from ldseg.data.splits import Fold, Splits, subject_order
from ldseg.errors import listed

_TRAIN, _VALIDATION, _UNUSED = "train", "validation", ""
_Parts = tuple[str, ...]
"""The part of a case in each fold; of a test case it is unused everywhere."""


@dataclass(frozen=True)
class DataChanges:
    """Differences of a data set from the one that a training began with; names of cases, ascending."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Cases whose files have another size or time."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def sentences(self) -> list[str]:
        """Return a clause for each kind of change that there is, e.g. "2 cases added (a, b)"."""
        kinds = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return [
            f"{len(names)} case{'s' if len(names) > 1 else ''} {kind} ({listed(names)})"
            for kind, names in kinds.items()
            if names
        ]


def split_names(splits: Splits) -> set[str]:
    """Return the names of all cases in the splits."""
    return {*splits.test, *(name for fold in splits.folds for name in (*fold.train, *fold.validation))}


def extend_splits(splits: Splits, cases: Iterable[Case], left_out: Collection[str] = ()) -> Splits:
    """Return the splits without cases that are gone and with those that are new.

    A new case of a known subject joins its subject. New subjects, in the order of the hash of (seed, subject)
    that `make_splits` uses, fill the test part up to its fraction of the subjects, then the fold with the
    fewest validation cases. `left_out` are names that stay outside all parts.
    """
    subjects = {case.name: case.subject for case in cases if case.name not in set(left_out)}
    if len(set(subjects.values())) == 1:  # each case then counts as one
        subjects = {name: name for name in subjects}
    tested, parts = set(splits.test) & subjects.keys(), _parts_by_name(splits)
    parts = {name: part for name, part in parts.items() if name in subjects}
    siblings = {subject: name for name, subject in subjects.items() if name in parts or name in tested}
    new: dict[str, list[str]] = defaultdict(list)
    for name in sorted(subjects.keys() - parts.keys() - tested):
        sibling = siblings.get(subjects[name])
        if sibling is None:
            new[subjects[name]].append(name)
        elif sibling in tested:
            tested.add(name)
        else:
            parts[name] = parts[sibling]
    wanted = _further_test_subjects(splits, tested, subjects)
    for number, subject in enumerate(subject_order(new, splits.seed)):
        if number < wanted:
            tested.update(new[subject])
        else:
            parts |= dict.fromkeys(new[subject], _emptiest_fold(parts, len(splits.folds)))
    return replace(
        splits,
        test=tuple(sorted(tested)),
        folds=tuple(
            Fold(_names_in(parts, fold, _TRAIN), _names_in(parts, fold, _VALIDATION))
            for fold in range(len(splits.folds))
        ),
    )


def _parts_by_name(splits: Splits) -> dict[str, _Parts]:
    """Return the part of each case outside the test part, fold by fold."""
    whereabouts = [
        dict.fromkeys(fold.train, _TRAIN) | dict.fromkeys(fold.validation, _VALIDATION)
        for fold in splits.folds
    ]
    names = {name for fold in whereabouts for name in fold}
    return {name: tuple(fold.get(name, _UNUSED) for fold in whereabouts) for name in names}


def _further_test_subjects(splits: Splits, tested: Collection[str], subjects: dict[str, str]) -> int:
    """Return how many new subjects the test part needs to keep its fraction of all subjects.

    The fraction is one of cases, whose subjects need not be known any more.
    """
    if not splits.test:
        return 0
    fraction = len(splits.test) / len(split_names(splits))
    every, have = set(subjects.values()), {subjects[name] for name in tested}
    return max(0, int(fraction * len(every) + 1e-9) - len(have))


def _emptiest_fold(parts: dict[str, _Parts], folds: int) -> _Parts:
    """Return the parts of a case that is validated in the fold with the fewest validation cases."""
    counts = [sum(part[fold] == _VALIDATION for part in parts.values()) for fold in range(folds)]
    smallest = counts.index(min(counts))
    return tuple(_VALIDATION if fold == smallest else _TRAIN for fold in range(folds))


def _names_in(parts: dict[str, _Parts], fold: int, part: str) -> tuple[str, ...]:
    return tuple(sorted(name for name, whereabouts in parts.items() if whereabouts[fold] == part))


def changes_of(known: Collection[str], present: Collection[str], changed: Sequence[str]) -> DataChanges:
    """Return the changes from the cases `known` to those `present`, of which `changed` have other files."""
    return DataChanges(
        tuple(sorted(set(present) - set(known))),
        tuple(sorted(set(known) - set(present))),
        tuple(sorted(changed)),
    )
