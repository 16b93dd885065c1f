"""Results as the benchmarks write them, for tests of what is made from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Script = Callable[[str], ModuleType]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROSE = """Words above.

<!-- accuracy:begin -->
old
<!-- accuracy:end -->

Words between.

<!-- steps:begin --><!-- steps:end --><!-- robustness:begin --><!-- robustness:end -->
<!-- raters:begin --><!-- raters:end --><!-- rater_levels:begin --><!-- rater_levels:end -->
<!-- inclusion:begin --><!-- inclusion:end -->
<!-- zoo:begin --><!-- zoo:end -->
<!-- calibration:begin --><!-- calibration:end -->

Words below.
"""
VARIANTS = """<!-- paper:begin --><!-- paper:end --><!-- tried:begin --><!-- tried:end -->
<!-- ablation:begin --><!-- ablation:end -->
<!-- fine_tune:begin --><!-- fine_tune:end --><!-- ensembles:begin --><!-- ensembles:end -->
<!-- sampling:begin --><!-- sampling:end -->
"""
COSTS = """<!-- speed:begin --><!-- speed:end --><!-- memory:begin --><!-- memory:end -->
<!-- torture:begin --><!-- torture:end -->
"""
KEYS = ("data", "split", "model", "preset", "seed", "budget_minutes", "command", "commit")
RELIABILITY = {
    "bins": [{"low": 0.5, "high": 1.0, "voxels": 9, "confidence": 0.8, "accuracy": 0.7}],
    "risk": [{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.1}],
}
NAMES = [f"case{n}" for n in range(6)]


def scored(dice: float, names: list[str], seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    cases = {
        name: {
            one: {"dice": dice + random.uniform(-0.05, 0.05), "hd95_mm": 2.0, "assd_mm": 0.5, "nsd": 0.9}
            for one in ("left", "right")
        }
        for name in names
    }
    return {"mean": {}, "dice_interval": [0, 1], "cpu_s_per_case": 0.5, "cases": cases}


def write(folder: Path, model: str = "ldseg", preset: str = "default", **changes: Any) -> dict[str, Any]:
    """A result as accuracy.py writes it; `dice` and `names` shape its scores."""
    dice, names = changes.pop("dice", 0.8), changes.pop("names", NAMES)
    seed = changes.get("seed", 0)
    steps = () if model == "unet" else ("1", "2", "5", "15", "50")
    coder = {"ceiling_dice": 0.95, "empty_mask_foreground": 0.0, "lone_6_voxel_object_dice": 0.7}
    result = {
        "benchmark": "accuracy",
        "data": "hippocampus",
        "split": "seed 0, 160 train, 6 test, by subject",
        "model": model,
        "preset": preset,
        "seed": seed,
        "budget_minutes": 30.0,
        "command": f"python benchmarks/accuracy.py --model {model} --seed {seed}",
        "commit": "abc1234",
        "training": {"steps": 900, "batch": 2, "training_cases": 160},
        "torch": "2.13",
        "peak_rss_gb": 2.5,
        "own": scored(dice, names, 10 * seed),
        "steps": {n: scored(dice + int(n) / 1000, names, 10 * seed + int(n)) for n in steps},
        "autoencoder": None if model == "unet" else coder,
        **changes,
    }
    fold = f"-fold{result['fold']}" if "fold" in result else ""
    name = f"{result['data']}-{model}-{preset}-seed{seed}-{result['budget_minutes']:g}min{fold}.json"
    (folder / "results" / name).write_text(json.dumps(result))
    return result


def write_records(folder: Path, benchmark: str, made: list[dict[str, Any]]) -> None:
    """A result of a benchmark that writes finished records."""
    path = folder / "results" / f"{benchmark}.json"
    path.write_text(json.dumps({"benchmark": benchmark, "records": made}))


def records(folder: Path) -> list[dict[str, Any]]:
    """The figures of summary.json, each with its run; without an interval they have none."""
    summary = json.loads((folder / "summary.json").read_text())
    empty = {"low": None, "high": None, "cases": None}
    return [{**empty, **summary["runs"][one.pop("run")], **one} for one in summary["figures"]]


def one(folder: Path, metric: str, **wanted: Any) -> dict[str, Any]:
    found = [
        r
        for r in records(folder)
        if r["metric"] == metric and all(r[key] == value for key, value in wanted.items())
    ]
    assert len(found) == 1
    return found[0]


def make(summary: ModuleType, folder: Path) -> None:
    summary.main(["--folder", str(folder)])
