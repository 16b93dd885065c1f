"""Can it be broken? Damaged and hostile inputs, kill -9, full disks, odd orientations; exit code 1 if it can.

    make torture
    python benchmarks/torture.py --inputs 20 --kills 5 --disks 2     a quick look, not written to results/

The suite itself is in tests/torture. Inputs are made from their number alone; the moments of kills are drawn
from the seed, but where they fall depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS / "torture"), str(_TESTS), str(_TESTS / "data")]

import suite  # noqa: E402
from attempts import CPU_SECONDS, MEMORY_GB  # noqa: E402
from pool import WALL_SECONDS  # noqa: E402

from records import commit, write_result  # noqa: E402

INPUTS, KILLS, DISKS, SEED = 200, 50, 20, 0


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    started, at = time.monotonic(), commit()
    with tempfile.TemporaryDirectory(prefix="torture") as work:
        found = suite.run(
            Path(work),
            arguments.inputs,
            arguments.kills,
            arguments.disks,
            arguments.seed,
            arguments.workers,
            lambda line: print(line, flush=True),
        )
    result = {**header(arguments, at), **found, "minutes": round((time.monotonic() - started) / 60, 1)}
    print(f"{result['minutes']} minutes, {len(found['faults'])} faults")
    if arguments.write:
        print(write_result("torture", {**result, "records": records(result)}))
    return 1 if found["faults"] else 0


def header(arguments: argparse.Namespace, at: str) -> dict[str, Any]:
    """Return the fields that all records share."""
    return {
        "benchmark": "torture",
        "data": "made by the suite",
        "split": f"bounds: {MEMORY_GB:g} GB, {CPU_SECONDS:g} CPU seconds, {WALL_SECONDS:g} s an input",
        "model": "ldseg",
        "preset": "default",
        "seed": arguments.seed,
        "budget_minutes": None,
        "command": "make torture",
        "commit": at,
    }


def records(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one record per figure; the metric's name holds the kind of input."""
    figures: dict[str, float] = {"faults": len(result["faults"]), "minutes": result["minutes"]}
    for kind, counts in result["inputs"]["kinds"].items():
        figures |= {f"{kind}_{name}": value for name, value in counts.items()}
    for part in ("kills", "full disks", "orientations"):
        figures |= {f"{part.replace(' ', '_')}_{name}": value for name, value in result[part].items()}
    common = {key: result[key] for key in header(argparse.Namespace(seed=0), "")} | {"seed": result["seed"]}
    return [{**common, "metric": metric, "value": value} for metric, value in figures.items()]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of each kind")
    parser.add_argument("--kills", type=int, default=KILLS, help="of trainings; a fifth more of predictions")
    parser.add_argument("--disks", type=int, default=DISKS, help="full ones, of each way")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args(argv)
    arguments.write = (arguments.inputs, arguments.kills, arguments.disks) == (INPUTS, KILLS, DISKS)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
