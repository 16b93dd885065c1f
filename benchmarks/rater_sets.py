"""Sets with several raters: how they are opened, which cases test, and which are kept back from training."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ldseg.data.dataset import DataOptions, DataSet, open_dataset
from ldseg.data.phantom import write_phantom_dataset
from sets import SETS

SHARE = 0.3
CASES, TEST, RATERS, SHAPE = 440, 40, 4, (96, 96)
FOLDS = 5
UNSEEN = 6
OPTIONS = SETS["bubil"].options


def open_bubil(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Return the set and the cases of the fold's blocks, drawn with seed 0; none where all train."""
    dataset = open_dataset(arguments.data_root / SETS["bubil"].folder, OPTIONS)
    if arguments.test_folder is not None:
        return dataset, set()
    blocks = sorted({case.subject for case in dataset.cases})
    np.random.default_rng(0).shuffle(blocks)
    chosen = set(blocks[arguments.fold or 0 :: FOLDS])
    return dataset, {case.name for case in dataset.cases if case.subject in chosen}


def unseen_of(dataset: DataSet, test: set[str]) -> set[str]:
    """Return the cases of every sixth subject that is no test: they calibrate what the others train."""
    blocks = sorted({case.subject for case in dataset.cases if case.name not in test})
    np.random.default_rng(1).shuffle(blocks)
    chosen = set(blocks[::UNSEEN])
    return {case.name for case in dataset.cases if case.subject in chosen}


def open_phantom(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Written once; the last cases are for testing."""
    folder: Path = arguments.work / f"raters-{arguments.question}"
    if not (folder / "dataset.json").is_file():
        exclusive = arguments.question == "either"
        write_phantom_dataset(folder, "yx", CASES, 0, RATERS, SHARE, SHAPE, exclusive)
    dataset = open_dataset(folder)
    return dataset, {case.name for case in dataset.cases[-TEST:]}


def open_lidc(arguments: argparse.Namespace) -> tuple[DataSet, set[str]]:
    """Both parts as one set, as its authors divided it."""
    root = arguments.data_root / "LIDC_4rater_sample"
    options = DataOptions(labels_above_zero=True)
    parts = [open_dataset(root / part, options) for part in ("training", "testing")]
    named = [
        replace(part, cases=tuple(replace(case, name=f"{word}{case.name}") for case in part.cases))
        for part, word in zip(parts, ("train", "test"), strict=True)
    ]
    dataset = replace(named[0], cases=(*named[0].cases, *named[1].cases))
    return dataset, {case.name for case in named[1].cases}


OPENED = {"phantom": open_phantom, "either": open_phantom, "lidc": open_lidc, "bubil": open_bubil}


def run_name(arguments: argparse.Namespace, model: str, seed: int) -> str:
    """Return the name of a run and of its result."""
    return f"raters-{arguments.question}{part_of(arguments)}-{model}-seed{seed}-{arguments.minutes:g}min"


def part_of(arguments: argparse.Namespace) -> str:
    """Return what a run's name says of its test cases."""
    if arguments.test_folder is not None:
        return "-other"
    return "" if arguments.fold is None else f"-fold{arguments.fold}"
