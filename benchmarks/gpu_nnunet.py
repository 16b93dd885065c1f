"""How good is nnU-Net v2 after some minutes on a GPU, beside the trainings of gpu_quality.py?

    python benchmarks/gpu_nnunet.py --data hippocampus --minutes 4 --data-root DATA --work WORK --out FILE

It runs in this interpreter's environment, with what is on PYTHONPATH. As in nnunet.py only the end of its
training is set from outside: so many minutes of wall clock, loading and augmentation included, by as many
processes as the others' loaders have. Planning and preprocessing are not in the minutes. Without SimpleITK
in the environment files are read by nnU-Net's NibabelIO instead of its SimpleITKIO: see nnunet_stand_ins.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

from accuracy import score_predictions
from gpu_journal import Journal, about_training, part_parser
from nnunet import Machine, Tool
from records import as_a_command
from sets import open_set, set_aside
from trainings import run_name

STAND_INS = Path(__file__).parent / "nnunet_stand_ins"


def main() -> None:
    parser = part_parser(__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--model", choices=("nnunet",), default="nnunet")
    parser.add_argument("--preset", choices=("default",), default="default", help="its own plan")
    parser.add_argument("--seed", type=int, default=0, help="a name for the run: nnU-Net draws its own")
    parser.add_argument("--workers", type=int, default=3, help="processes of its augmentation")
    parser.add_argument("--processes", type=int, default=4, help="of preprocessing and at prediction")
    parser.add_argument(
        "--only-prepare", action="store_true", help="plan and preprocess for the same call without it"
    )
    arguments = parser.parse_args()
    as_a_command(1)
    dataset, splits = open_set(arguments.data, arguments.data_root)
    names = splits.part("all").train
    test, split = set_aside(dataset, splits)
    test = test[:2] if arguments.tiny else test
    tool, reader = find_tool(arguments, dataset)
    started = time.monotonic()
    tool.prepare([case for case in dataset.cases if case.name in names], reader)
    prepared = round(time.monotonic() - started, 1)
    if arguments.only_prepare:
        return
    plan = tool.plan()
    found = about_training(arguments) | {"version": tool.version(), "reader": reader or "SimpleITKIO"}

    def trained() -> dict[str, Any]:
        ended = tool.train(60 * arguments.minutes)
        steps = {"steps": ended["iterations"], "batch": plan["batch_size"], "patch": plan["patch_size"]}
        memory = {"peak_memory_gb": ended.get("peak_memory_gb")}
        return found | steps | {"training_cases": len(names), "preparing_seconds": prepared} | memory

    def scored() -> dict[str, Any]:
        begun = time.monotonic()
        tool.predict(test)
        spent = round(time.monotonic() - begun, 1)  # of starting nnU-Net, too
        scores = score_predictions(dataset, test, {case.name: tool.answer(case) for case in test})
        return found | {"split": split, "predicting_seconds": spent, **scores}

    journal, name = Journal(arguments.out), run_name(arguments)
    journal.attempt("trained", name, trained)
    journal.attempt("quality", name, scored)


def find_tool(arguments: Any, dataset: Any) -> tuple[Tool, str | None]:
    """Return nnU-Net in this interpreter, and the reader of files that it is told to use, if any."""
    packages = tuple(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)
    stands_in = importlib.util.find_spec("SimpleITK") is None
    machine = Machine(
        device="cuda" if arguments.device.startswith("cuda") else "cpu",
        clock="NNUNET_WALL_SECONDS",
        processes=arguments.processes,
        workers=arguments.workers,
        packages=(*packages, str(STAND_INS)) if stands_in else packages,
    )
    work = arguments.work / f"quality-{run_name(arguments)}"
    return Tool(Path(sys.executable), work, dataset, machine), "NibabelIO" if stands_in else None


if __name__ == "__main__":
    main()
