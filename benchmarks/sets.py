"""The data sets of the benchmarks: where they lie below the data root, how they are read, how they are split.

Nothing of them is in the repository; `benchmarks/README.md` names sources and licences. The test part is
drawn by subject with seed 0 before anything is trained, and is used for nothing but the figures. Where it
would have fewer than thirty subjects the set is cross-validated: its subjects are drawn into folds, each of
which is left out in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, DataSet, open_dataset
from ldseg.data.splits import Fold, Splits, make_splits
from ldseg.data.units import LengthUnit, length_unit

SPLIT_SEED = 0
TEST_FRACTION = 0.2
_WATCHED = 8
"""Cases that the curve of a training is drawn from, where a fold is left out."""
_BLOCK = r"(set\d+_[A-Za-z]*\d*)\d"
"""Neighbouring numbers of BUBIL may show one cell at different times: a block of ten numbers is a subject."""


@dataclass(frozen=True)
class BenchmarkSet:
    """A folder below the data root and the options that read it."""

    folder: str
    options: DataOptions
    arguments: str
    """The options as command-line arguments."""
    physical: bool = True
    """Whether the images have a physical spacing; without one, lengths are in pixels."""
    folds: int = 0
    """Of a cross-validation; 0 where the test part is large enough."""


SETS = {
    "hippocampus": BenchmarkSet("Dataset004_Hippocampus", DataOptions(), ""),
    "usgra": BenchmarkSet("USGRA", DataOptions(), "", physical=False),
    "hc18": BenchmarkSet("HC18", DataOptions(subject_pattern=r"(\d{3})"), r"--subject-pattern '(\d{3})'"),
    "dsb2018": BenchmarkSet(
        "DSB2018_histology",
        DataOptions(labels_above_zero=True),
        "--labels-above-zero",
        physical=False,
        folds=5,
    ),
    "sunnybrook": BenchmarkSet(
        "Sunnybrook_cine",
        DataOptions(axes="tyx", ignore_id=255, subject_pattern=r"(.+)_slice"),
        "--axes tyx --ignore-id 255 --subject-pattern '(.+)_slice'",
        folds=4,
    ),
    "bubil": BenchmarkSet(
        "BUBIL_cells",
        DataOptions(subject_pattern=_BLOCK),
        f"--subject-pattern '{_BLOCK}'",
        physical=False,
        folds=5,
    ),
}


def length_unit_of(data: str) -> LengthUnit:
    """Return the unit of distances in a set."""
    return length_unit(data not in SETS or SETS[data].physical)


def open_set(name: str, root: Path, fold: int | None = None) -> tuple[DataSet, Splits]:
    """Return the data set and its split, with a fifth of the subjects for testing, or those of a fold."""
    chosen = SETS[name]
    dataset = open_dataset(root / chosen.folder, chosen.options)
    if fold is None:
        return dataset, make_splits(dataset.cases, SPLIT_SEED, test_fraction=TEST_FRACTION)
    left_out = subjects_of_fold({case.subject for case in dataset.cases}, fold, chosen.folds)
    names = [case.name for case in dataset.cases if case.subject not in left_out]
    test = tuple(case.name for case in dataset.cases if case.subject in left_out)
    return dataset, Splits(1, SPLIT_SEED, test, (Fold(tuple(names[_WATCHED:]), tuple(names[:_WATCHED])),))


def subjects_of_fold(subjects: set[str], fold: int, folds: int) -> set[str]:
    """Return the subjects of one fold of a cross-validation, drawn with seed 0."""
    order = sorted(subjects)
    np.random.default_rng(SPLIT_SEED).shuffle(order)
    return set(order[fold::folds])


def set_aside(dataset: DataSet, splits: Splits, fold: int | None = None) -> tuple[list[Case], str]:
    """Return the test cases and a description of the split."""
    test = [case for case in dataset.cases if case.name in splits.test]
    drawn = f"seed {SPLIT_SEED}" if fold is None else f"fold {fold}"
    return test, f"{drawn}, {len(splits.part('all').train)} train, {len(test)} test, by subject"
