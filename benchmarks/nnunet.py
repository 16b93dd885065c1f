"""How accurate is nnU-Net v2, as it comes from PyPI, after the same training time on the same cases?

    python -m venv VENV && VENV/bin/pip install nnunetv2
    python benchmarks/nnunet.py --data hippocampus --data-root FOLDER --work FOLDER --nnunet VENV --minutes 40

It plans, preprocesses, trains and predicts by its own commands in its own environment; only the end of its
training is set from outside (`nnunet_trainer/budgeted.py`). Its answers, with its own mirroring at
prediction, are scored by ldseg's evaluation on the test cases of `accuracy.py`. Planning and preprocessing
are free of charge, for both. Augmentation runs in the training process: its CPU time counts, as elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accuracy import score_predictions
from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet, load_image, load_labels
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.volume import Volume
from records import commit, write_result
from sets import open_set, set_aside

NUMBER = 900
NAME = f"Dataset{NUMBER}_benchmark"
TRAINER = "BudgetedTrainer"
COMMANDS = {
    "plan_and_preprocess": "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:"
    "plan_and_preprocess_entry",
    "train": "nnunetv2.run.run_training:run_training_entry",
    "predict": "nnunetv2.inference.predict_from_raw_data:predict_entry_point",
}
"""Its commands' functions: called by the interpreter, as not every environment has scripts of them."""


@dataclass(frozen=True)
class Machine:
    """What nnU-Net runs on, and how its training time is counted."""

    device: Literal["cpu", "cuda"] = "cpu"
    clock: Literal["NNUNET_CPU_SECONDS", "NNUNET_WALL_SECONDS"] = "NNUNET_CPU_SECONDS"
    processes: int = 1
    """For preprocessing, and for reading and writing at prediction."""
    workers: int = 0
    """Processes of the augmentation; with 0 it is part of the training process."""
    packages: tuple[str, ...] = ()
    """Folders of packages beside those of the interpreter's environment."""


def main() -> None:
    arguments = parse()
    name = f"accuracy-{arguments.data}-nnunet-default-seed{arguments.seed}-{arguments.minutes:g}min"
    dataset, splits = open_set(arguments.data, arguments.data_root)
    names = splits.part("all").train
    test, split = set_aside(dataset, splits)
    tool = Tool(arguments.nnunet / "bin" / "python", arguments.work / name, dataset)
    tool.prepare([case for case in dataset.cases if case.name in names])
    model = tool.train(60 * arguments.minutes)
    spent = tool.predict(test)
    predicted = {case.name: tool.answer(case) for case in test}
    own = score_predictions(dataset, test, predicted)
    own["cpu_s_per_case"] = round(spent / len(test), 3)
    result = {
        "benchmark": "accuracy",
        "data": arguments.data,
        "split": split,
        "model": "nnunet",
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": arguments.minutes,
        "command": f"python benchmarks/nnunet.py --data-root DATA --work WORK --nnunet VENV "
        f"--data {arguments.data} --minutes {arguments.minutes:g} --seed {arguments.seed}",
        "commit": commit(),
        "version": tool.version(),
        "training": {"steps": model["iterations"], "training_cases": len(names)},
        "peak_rss_gb": max(model["peak_rss_gb"], peak_of_children_gb()),
        "own": own,
        "steps": {},
        "autoencoder": None,
    }
    print(write_result(name, result), json.dumps(own["mean"]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--nnunet", type=Path, required=True, help="its virtual environment")
    parser.add_argument("--minutes", type=float, default=40, help="CPU minutes of training")
    parser.add_argument("--seed", type=int, default=0, help="a name for the run: nnU-Net draws its own")
    return parser.parse_args()


class Tool:
    """nnU-Net's commands on one data set, in a folder of their own."""

    def __init__(self, python: Path, work: Path, dataset: DataSet, machine: Machine = Machine()) -> None:
        self.python, self.work = python.absolute(), work.absolute()
        self.dataset, self.machine = dataset, machine
        self.configuration = "3d_fullres" if dataset.axes == "zyx" else "2d"
        self.raw = self.work / "raw" / NAME
        self.images, self.answers = self.work / "test", self.work / "answers"
        for folder in (self.raw, self.images, self.answers):
            folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, command: str, *words: object, **environment: str) -> None:
        module, function = COMMANDS[command].split(":")
        code = f"from {module} import {function} as command; command()"
        places = {"raw": "raw", "preprocessed": "preprocessed", "results": "results"}
        variables = {f"nnUNet_{key}": str(self.work / folder) for key, folder in places.items()}
        variables |= {"nnUNet_extTrainer": str(Path(__file__).parent / "nnunet_trainer")}
        variables |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [self.python, "-c", code, *map(str, words)],
            env=self.environment() | variables | environment,
            check=True,
        )

    def environment(self) -> dict[str, str]:
        """Return the variables of its interpreter, which finds its own packages and those of the machine."""
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(self.machine.packages)}
        if not self.machine.packages:
            found.pop("PYTHONPATH")
        return found

    def prepare(self, cases: list[Case], reader: str | None = None) -> None:
        """Plan and preprocess the training cases, unless that is done; `reader` of files instead of its own
        choice."""
        if (self.work / "prepared").is_file():
            return
        write_raw(self.raw, self.dataset, cases, reader)
        several = self.machine.processes
        words = ("-d", NUMBER, "-c", self.configuration, "-np", several, "-npfp", several)
        self("plan_and_preprocess", *words)
        (self.work / "prepared").touch()

    def train(self, seconds: float) -> dict[str, Any]:
        """Train, or go on training; what its trainer says of the end."""
        folder = self.work / "results" / NAME / f"{TRAINER}__nnUNetPlans__{self.configuration}" / "fold_all"
        if not (folder / "checkpoint_final.pth").is_file():
            words = (NUMBER, self.configuration, "all", "-tr", TRAINER, "-device", self.machine.device)
            more = ("--c",) if (folder / "checkpoint_latest.pth").is_file() else ()
            variables = {self.machine.clock: str(seconds), "nnUNet_n_proc_DA": str(self.machine.workers)}
            self("train", *words, *more, **variables)
        return json.loads((folder / "budget.json").read_text())

    def predict(self, cases: list[Case]) -> float:
        """Predict the cases; CPU seconds."""
        for case in cases:
            write_image(self.images, self.dataset, case)
        words = ("-d", NUMBER, "-c", self.configuration, "-f", "all", "-tr", TRAINER)
        folders = ("-i", self.images, "-o", self.answers)
        several = ("-npp", self.machine.processes, "-nps", self.machine.processes)
        before = children_seconds()
        self("predict", *folders, *words, "-device", self.machine.device, *several)
        return children_seconds() - before

    def answer(self, case: Case) -> Volume:
        """Its label map of a case with the set's own ids, on the case's own grid."""
        reference = load_labels(self.dataset, case)[0]
        ids = np.array(list(self.dataset.classes.values()))
        path = self.answers / f"{case.name}{ending(self.dataset)}"
        found = read_volume(path, "labels", self.dataset.axes)
        return reference.with_array(ids[found.array], "labels")

    def plan(self) -> dict[str, Any]:
        """What it plans for its configuration."""
        plans = self.work / "preprocessed" / NAME / "nnUNetPlans.json"
        return json.loads(plans.read_text())["configurations"][self.configuration]

    def version(self) -> str:
        """Of nnunetv2."""
        code = "from importlib.metadata import version as v; print(v('nnunetv2'))"
        words = [self.python, "-c", code]
        ended = subprocess.run(words, env=self.environment(), capture_output=True, text=True, check=True)
        return ended.stdout.strip()


def peak_of_children_gb() -> float:
    """Return the peak memory (GB) of the commands run by this process, not of earlier trainings."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 3)


def children_seconds() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def ending(dataset: DataSet) -> str:
    """Return the file ending of the images given to nnU-Net."""
    return ".nii.gz" if dataset.axes == "zyx" else ".png"


def write_raw(folder: Path, dataset: DataSet, cases: list[Case], reader: str | None = None) -> None:
    """Write the training cases in nnU-Net's layout with label ids counted from 0, for a reader of its own if
    one is named."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    ids = list(dataset.classes.values())
    for case in cases:
        write_image(folder / "imagesTr", dataset, case)
        labels = load_labels(dataset, case)[0]
        counted = sum((labels.array == number) * place for place, number in enumerate(ids))
        counted = np.asarray(counted, np.uint8)
        if dataset.ignore_id is not None:
            counted[labels.array == dataset.ignore_id] = len(ids)
        volume = labels.with_array(counted, "labels")
        write_volume(folder / "labelsTr" / f"{case.name}{ending(dataset)}", volume)
    labels_of = {name: place for place, name in enumerate(dataset.classes)}
    if dataset.ignore_id is not None:
        labels_of["ignore"] = len(ids)
    about = {
        "channel_names": {str(n): name for n, name in enumerate(dataset.channel_names)},
        "labels": labels_of,
        "numTraining": len(cases),
        "file_ending": ending(dataset),
    }
    if reader:
        about["overwrite_image_reader_writer"] = reader
    (folder / "dataset.json").write_text(json.dumps(about))


def write_image(folder: Path, dataset: DataSet, case: Case) -> None:
    image = load_image(dataset, case)
    if dataset.axes != "zyx":
        image = image.with_array(image.array.astype(np.uint8), "image")
    write_volume(folder / f"{case.name}_0000{ending(dataset)}", image)


if __name__ == "__main__":
    main()
