"""Splits by subject: a test part and folds for cross-validation, in a file that a person may edit.

A subject's part depends only on a SHA-256 hash of (seed, subject): not on the order of cases, the file
system or the version of a library.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ldseg.data.cases import Case
from ldseg.data.file_names import name_key
from ldseg.data.sidecar_metadata import read_json
from ldseg.errors import InputError, file_error, listed
from ldseg.utils.serialization import write_bytes_atomic

Item = TypeVar("Item")
Part = Literal["train", "validation", "test"]

SPLITS_VERSION = 1


@dataclass(frozen=True)
class Fold:
    """Names of training and validation cases; they overlap only in the fold "all"."""

    train: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def unseen(self) -> list[str]:
        """Validation cases that are not trained on too, in order."""
        return sorted(set(self.validation) - set(self.train))


@dataclass(frozen=True)
class Splits:
    """A test set that no fold uses, and folds whose validation cases together are all other cases."""

    version: int
    seed: int
    test: tuple[str, ...]
    folds: tuple[Fold, ...]

    def part(self, fold: int | Literal["all"]) -> Fold:
        """Return one fold; "all" trains on every case outside the test set and validates on those of fold 0.

        Raises InputError when there is no such fold.
        """
        if fold == "all":
            first = self.folds[0]
            return Fold(tuple(sorted((*first.train, *first.validation))), first.validation)
        if not 0 <= fold < len(self.folds):
            raise InputError(f"fold {fold} does not exist; choose 0 to {len(self.folds) - 1} or all")
        return self.folds[fold]


def evenly_spaced(items: Sequence[Item], limit: int | None) -> tuple[Item, ...]:
    """Return at most `limit` items, evenly spaced in their order; None returns all."""
    if limit is None or limit >= len(items):
        return tuple(items)
    return tuple(items[number * len(items) // limit] for number in range(limit))


def make_splits(cases: Iterable[Case], seed: int = 0, folds: int = 5, test_fraction: float = 0.0) -> Splits:
    """Return splits by subject.

    `test_fraction` in [0, 1) of the subjects, rounded down but at least one when above 0, is set aside. With
    fewer subjects than `folds` there are as many folds as subjects. All cases of one single subject are split
    like subjects: the figures then say nothing about other subjects. Raises InputError when fewer than two
    units would be left to train and validate on.
    """
    if folds < 2:
        raise InputError(f"the number of folds is {folds}; choose 2 or more, e.g. 5")
    if not 0 <= test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; choose a value in [0, 1), e.g. 0.2")
    members = _members(cases)
    order = subject_order(members, seed)
    tested = max(int(test_fraction * len(order) + 1e-9), 1) if test_fraction > 0 else 0
    rest = order[tested:]
    if len(rest) < 2:
        units = "subject leaves" if len(order) == 1 else "subjects leave"
        finding = f"{len(order)} {units} {len(rest)} to train and validate on"
        raise InputError(
            f"{finding}; add cases{' or set no test part aside' if tested else ', two at least'}"
        )
    parts: list[list[str]] = [[] for _ in range(min(folds, len(rest)))]
    for subject in rest:  # to the fold with the fewest cases so far
        min(parts, key=len).extend(members[subject])
    test = tuple(sorted(name for subject in order[:tested] for name in members[subject]))
    every = {name for part in parts for name in part}
    made = (Fold(tuple(sorted(every.difference(part))), tuple(sorted(part))) for part in parts)
    return Splits(SPLITS_VERSION, seed, test, tuple(made))


def subject_order(subjects: Iterable[str], seed: int) -> list[str]:
    """Return the subjects in the order of their hashes with the seed, in which they are split."""
    return sorted(subjects, key=lambda one: hashlib.sha256(f"{seed}:{name_key(one)}".encode()).digest())


def write_splits(path: Path, splits: Splits) -> None:
    """Write the splits as JSON, atomically. Raises InputError if the file cannot be written."""
    text = json.dumps(asdict(splits), indent=1, ensure_ascii=False) + "\n"
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def read_splits(path: Path) -> Splits:
    """Return the splits of a file by `write_splits`, or of nnU-Net's splits_final.json (no test set).

    Raises InputError if the file is missing, damaged, of a newer version, or has overlapping parts.
    """
    if not path.is_file():
        raise file_error(path, "there is no such file", "name a file of splits, or the folder of a training")
    content = read_json(path)
    if isinstance(content, list):
        return _checked(path, _of_nnunet(path, content))
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SPLITS_VERSION:
        raise file_error(path, f"is of version {version}, newer than this program", "update ldseg")
    try:
        splits = Splits(
            version=int(content["version"]),
            seed=int(content["seed"]),
            test=_names(content["test"]),
            folds=tuple(Fold(_names(fold["train"]), _names(fold["validation"])) for fold in content["folds"]),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise file_error(
            path, f"is not a file of splits ({problem!r})", "remove it to make the splits again"
        ) from problem
    return _checked(path, splits)


def _of_nnunet(path: Path, content: list[Any]) -> Splits:
    """Return the splits of nnU-Net's list of {"train": [..], "val": [..]}."""
    try:
        folds = tuple(Fold(_names(fold["train"]), _names(fold["val"])) for fold in content)
    except (KeyError, TypeError) as problem:
        remedy = 'write a list of {"train": ["a"], "val": ["b"]}, or the format of ldseg'
        raise file_error(path, f"is not a list of nnU-Net's folds ({problem!r})", remedy) from problem
    for number, fold in enumerate(folds):
        for task, names in (("train", fold.train), ("validate", fold.validation)):
            if not names:
                raise file_error(path, f"fold {number} has no case to {task} on", "name one at least")
    return Splits(SPLITS_VERSION, 0, (), folds)


def _checked(path: Path, splits: Splits) -> Splits:
    """Return `splits`. Raises InputError if there are no folds or a case is in two parts."""
    if not splits.folds:
        raise file_error(path, "has no folds", "remove it to make the splits again")
    for number, fold in enumerate(splits.folds):
        parts = [{name_key(name) for name in part} for part in (splits.test, fold.train, fold.validation)]
        twice = sorted((parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2]))
        if twice:
            raise file_error(
                path, f"fold {number} has {listed(twice)} in two parts", "keep each case in one part"
            )
    return splits


def match_spelling(splits: Splits, cases: Iterable[Case]) -> Splits:
    """Return the splits with the Unicode spelling of the cases' names; unknown names stay."""
    spelling = {name_key(case.name): case.name for case in cases}

    def spelled(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(spelling.get(name_key(name), name) for name in names)

    folds = tuple(Fold(spelled(fold.train), spelled(fold.validation)) for fold in splits.folds)
    return replace(splits, test=spelled(splits.test), folds=folds)


def _members(cases: Iterable[Case]) -> dict[str, list[str]]:
    """Return subject to the names of its cases; with one subject only, each case counts as a subject."""
    members: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        members[case.subject].append(case.name)
    if len(members) == 1:
        return {name: [name] for names in members.values() for name in names}
    return members


def _names(entry: Any) -> tuple[str, ...]:
    """Return a list of names as a tuple. Raises TypeError for anything else."""
    if not isinstance(entry, list) or not all(isinstance(name, str) for name in entry):
        raise TypeError("a part is not a list of names")
    return tuple(entry)
