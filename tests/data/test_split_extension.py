"""Splits of a data set that has grown, shrunk or both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.split_extension import DataChanges, changes_of, extend_splits, split_names
from ldseg.data.splits import Fold, Splits, make_splits


def _cases(names: Iterable[str], subject_length: int = 2) -> list[Case]:
    """Cases like `07a`, whose subject is the beginning of the name."""
    return [
        Case(name, (Path(f"{name}.png"),), (Path(f"{name}_m.png"),), name[:subject_length]) for name in names
    ]


FIRST = _cases(f"{number:02d}a" for number in range(20))
SPLITS = make_splits(FIRST, seed=3, folds=4, test_fraction=0.2)


def test_unchanged_data_keep_their_splits() -> None:
    assert extend_splits(SPLITS, FIRST) == SPLITS


def test_a_new_case_of_a_known_subject_joins_its_subject() -> None:
    further = _cases(f"{number:02d}b" for number in range(20))
    extended = extend_splits(SPLITS, [*FIRST, *further])
    pairs = [(SPLITS.test, extended.test)]
    for before, after in zip(SPLITS.folds, extended.folds, strict=True):
        pairs += [(before.train, after.train), (before.validation, after.validation)]
    for before, after in pairs:
        assert set(after) == {*before, *(f"{name[:2]}b" for name in before)}


def test_new_subjects_are_assigned_by_the_seed_and_old_ones_stay() -> None:
    further = _cases(f"{number:02d}a" for number in range(20, 40))
    extended = extend_splits(SPLITS, [*FIRST, *further])
    assert extended == extend_splits(SPLITS, [*reversed(further), *FIRST])
    assert split_names(extended) == {f"{number:02d}a" for number in range(40)}
    assert len(extended.test) == 8
    assert set(SPLITS.test) <= set(extended.test)
    for before, after in zip(SPLITS.folds, extended.folds, strict=True):
        assert set(before.validation) <= set(after.validation)
        assert len(after.validation) == 8
        assert not set(after.train) & {*after.validation, *extended.test}


def test_cases_that_are_gone_leave_their_parts() -> None:
    gone = {SPLITS.test[0], SPLITS.folds[0].train[0], SPLITS.folds[0].validation[0]}
    extended = extend_splits(SPLITS, [case for case in FIRST if case.name not in gone])
    assert split_names(extended) == split_names(SPLITS) - gone
    assert set(extended.folds[0].train) == set(SPLITS.folds[0].train) - gone


def test_cases_that_were_left_out_stay_outside() -> None:
    splits = Splits(1, 0, (), (Fold(("00a",), ("01a",)),))
    extended = extend_splits(splits, _cases(["00a", "01a", "02a", "03a"]), left_out=["02a"])
    assert extended.folds == (Fold(("00a",), ("01a", "03a")),)


def test_cases_of_one_single_subject_are_spread_over_the_folds() -> None:
    first = [Case(f"s{number}", (), (), "one") for number in range(4)]
    splits = make_splits(first, folds=2)
    extended = extend_splits(splits, [*first, *(Case(f"s{number}", (), (), "one") for number in range(4, 8))])
    assert [len(fold.validation) for fold in extended.folds] == [4, 4]


def test_changes_are_named() -> None:
    assert changes_of({"a", "b"}, {"b", "c"}, ["b"]) == DataChanges(("c",), ("a",), ("b",))
    assert not changes_of({"a"}, {"a"}, [])
