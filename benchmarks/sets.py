"""The data sets of the benchmarks: where they lie below the data root, how they are read, how they are split.

Nothing of them is in the repository; `benchmarks/README.md` names sources and licences. The test part is
drawn by subject with seed 0 before anything is trained, and is used for nothing but the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, DataSet, open_dataset
from ldseg.data.splits import Splits, make_splits
from ldseg.data.units import LengthUnit, length_unit

SPLIT_SEED = 0
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class BenchmarkSet:
    """A folder below the data root and the options that read it."""

    folder: str
    options: DataOptions
    arguments: str
    """The options as command-line arguments."""
    physical: bool = True
    """Whether the images have a physical spacing; without one, lengths are in pixels."""


SETS = {
    "hippocampus": BenchmarkSet("Dataset004_Hippocampus", DataOptions(), ""),
    "usgra": BenchmarkSet("USGRA", DataOptions(), "", physical=False),
    "hc18": BenchmarkSet("HC18", DataOptions(subject_pattern=r"(\d{3})"), r"--subject-pattern '(\d{3})'"),
    "dsb2018": BenchmarkSet(
        "DSB2018_histology", DataOptions(labels_above_zero=True), "--labels-above-zero", physical=False
    ),
    "sunnybrook": BenchmarkSet(
        "Sunnybrook_cine",
        DataOptions(axes="tyx", ignore_id=255, subject_pattern=r"(.+)_slice"),
        "--axes tyx --ignore-id 255 --subject-pattern '(.+)_slice'",
    ),
}


def length_unit_of(data: str) -> LengthUnit:
    """Return the unit of distances in a set."""
    return length_unit(data not in SETS or SETS[data].physical)


def open_set(name: str, root: Path) -> tuple[DataSet, Splits]:
    """Return the data set and its split, with a fifth of the subjects for testing."""
    chosen = SETS[name]
    dataset = open_dataset(root / chosen.folder, chosen.options)
    return dataset, make_splits(dataset.cases, SPLIT_SEED, test_fraction=TEST_FRACTION)


def set_aside(dataset: DataSet, splits: Splits) -> tuple[list[Case], str]:
    """Return the test cases and a description of the split."""
    test = [case for case in dataset.cases if case.name in splits.test]
    return test, f"seed {SPLIT_SEED}, {len(splits.part('all').train)} train, {len(test)} test, by subject"
