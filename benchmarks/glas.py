"""Glands as the paper scores them: train on GlaS as it is downloaded, score its two test parts.

    python benchmarks/glas.py --data "Warwick QU Dataset (Released 2016_07_08)" --work WORK --out FILE \\
        --variant paper --minutes 240 --device cuda

The folder holds train_1.bmp with train_1_anno.bmp, testA_1.bmp ... and testB_1.bmp ...; whoever has it may
not pass it on. As in the paper, images are resized to 512 x 512 and every gland is one class. A fifth of the
training images is for validation. FILE gets a line for each validation and one with the Dice of each test
image. Variants are those of `paper_jobs.py`; a command that is given again goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpu_journal import Journal
from ldseg.data.dataset import DataOptions, DataSet, load_image, load_labels, open_dataset
from ldseg.data.splits import Fold, Splits
from ldseg.inference.predictor import Predictor
from ldseg.metrics.dice import dice
from paper_jobs import VARIANTS, Job, Limits, train_job, write_resized
from records import as_a_command, commit

PARTS = ("testA", "testB")
OPTIONS = DataOptions(labels_above_zero=True)


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    journal = Journal(arguments.out)
    dataset, splits = open_glas(arguments.data, arguments.work, arguments.side)
    job = Job("glas", arguments.variant, VARIANTS[arguments.variant], arguments.seed)
    limits = Limits(arguments.minutes, arguments.steps, arguments.side, precision=arguments.precision)

    def on_validation(record: dict[str, Any]) -> None:
        journal.add("curve", job.label, **{key: record[key] for key in ("step", "seconds", "dice")})

    trained = train_job(job, dataset, splits, arguments.work, limits, arguments.device, on_validation)
    journal.add("trained", job.label, **trained)
    predictor = Predictor.load(arguments.work / job.label, arguments.device)
    journal.add("test", job.label, commit=commit(), **score(predictor, dataset, splits))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder as it is downloaded")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, appended to")
    parser.add_argument("--variant", choices=tuple(VARIANTS), default="paper")
    parser.add_argument("--minutes", type=float, default=240.0, help="wall clock of the training")
    parser.add_argument("--steps", type=int, help="of the training, in place of the minutes")
    parser.add_argument("--side", type=int, default=512, help="pixels of an image along each axis")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="the preset's by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def open_glas(data: Path, work: Path, side: int) -> tuple[DataSet, Splits]:
    """Return the resized images, and the split that the names say, every fifth training image for
    validation."""
    folder = work / f"resized-glas-{side}"
    if not folder.is_dir():
        write_resized(open_dataset(data, OPTIONS), folder, side)
    dataset = open_dataset(folder, replace(OPTIONS, labels_above_zero=False))
    names = sorted(case.name for case in dataset.cases)
    train = [name for name in names if name.startswith("train")]
    test = tuple(name for name in names if name.startswith(PARTS))
    if not train or not test:
        sys.exit(f"{data}: has {len(train)} images train_* and {len(test)} images testA_* and testB_*")
    validation = train[::5]
    rest = tuple(name for name in train if name not in validation)
    return dataset, Splits(1, 0, test, (Fold(rest, tuple(validation)),))


def score(predictor: Predictor, dataset: DataSet, splits: Splits) -> dict[str, Any]:
    """Return the Dice of each test image, and the mean of each part."""
    cases: dict[str, float] = {}
    for case in dataset.cases:
        if case.name in splits.test:
            found = predictor(load_image(dataset, case), case.name).labels.array
            truth = load_labels(dataset, case)[0].array
            cases[case.name] = round(float(dice(torch.from_numpy(found > 0), torch.from_numpy(truth > 0))), 5)
    means = {
        part: round(sum(of_part) / len(of_part), 5)
        for part in PARTS
        if (of_part := [value for name, value in cases.items() if name.startswith(part)])
    }
    return {"dice": round(sum(cases.values()) / len(cases), 5), **means, "cases": cases}


if __name__ == "__main__":
    main()
