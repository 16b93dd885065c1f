"""The tables of gpu.md and the records of summary.json from what gpu.py found.

    python benchmarks/gpu_tables.py OUT/gpu.json [OUT/gpu.json ...]

Adds them to results/gpu.json, and rewrites gpu.md between its markers. Of a figure that several runs took on
one card, the last counts; one that could not be taken replaces none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from markdown_table import table
from records import read_result, write_result
from summary import rewrite

HERE = Path(__file__).parent
Line = dict[str, Any]
FIGURES = {
    "step": ("steps_per_s", "host_ms", "peak_memory_gb"),
    "graph": ("steps_per_s",),
    "compiled": ("steps_per_s",),
    "compiled_graph": ("steps_per_s",),
    "predict": ("1_step_s", "8_samples_s", "network_1_step_one_patch_s"),
    "loader": ("patches_per_s",),
    "augment": ("patches_per_s",),
}
"""Figures that go into summary.json, by part."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("found", nargs="+", type=Path)
    wholes = [read_result("gpu")]
    wholes += [json.loads(path.read_text()) for path in parser.parse_args().found]
    lines = merge(wholes)
    common = {"benchmark": "gpu", "commit": wholes[-1]["commit"], "command": "python benchmarks/gpu.py"}
    records = [common | record for record in records_of(lines)]
    whole = {**common, "device": wholes[-1]["device"], "lines": lines, "records": records}
    write_result("gpu", whole)
    drawn = {
        "works": works_table(lines),
        "steps": steps_table(lines),
        "other": other_table(lines),
        "quality": quality_table(lines),
    }
    rewrite(HERE / "gpu.md", drawn)


def merge(wholes: list[dict[str, Any]]) -> list[Line]:
    """Return the lines of several runs, each with the commit it was taken at and its card."""
    merged: dict[tuple[str, str, str], Line] = {}
    for whole in wholes:
        for line in whole["lines"]:
            taken = {"commit": whole["commit"], "card": _card(whole["device"])} | rounded(line)
            key = taken["part"], taken["name"], taken["card"]
            if "error" not in line or key not in merged:
                merged[key] = taken
    return list(merged.values())


def _card(device: str) -> str:
    """Return the card's model in a word."""
    return device.removeprefix("NVIDIA ").split()[0]


def rounded(found: Any) -> Any:
    """Return the same with numbers of five digits: the file is kept for good."""
    if isinstance(found, float):
        return float(f"{found:.5g}")
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    return [rounded(value) for value in found] if isinstance(found, list) else found


def records_of(lines: list[Line]) -> list[Line]:
    """Return finished records: one a figure."""
    records: list[Line] = []
    for line in lines:
        for figure in FIGURES.get(line["part"], ()):
            if figure in line and line.get("windows", 2) > 1:
                records.append(_record(line, f"gpu_{line['part']}_{figure}", line[figure], line["name"]))
        if line["part"] == "quality" and "mean" in line:
            low, high = line["dice_interval"]
            made = _record(line, "mean_dice", line["mean"]["dice"], line["split"])
            records.append(made | {"low": low, "high": high, "cases": len(line["cases"])})
        if line["part"] == "calibration" and "figures" in line:
            records.append(_record(line, "ece", line["figures"]["ece"], "the test cases"))
    return records


def _record(line: Line, metric: str, value: float, split: str) -> Line:
    return {
        "data": line.get("data", "noise"),
        "split": f"{split}{', CUDA graphs' if line.get('cuda_graphs') else ''}, {line['card']}",
        "model": line.get("model", line["name"].split("-")[0]),
        "preset": line.get("preset", "default"),
        "seed": line.get("seed", 0),
        "budget_minutes": line.get("budget_minutes"),
        "commit": line["commit"],
        "metric": metric,
        "value": value,
        "low": None,
        "high": None,
        "cases": 1,
    }


def by_name(lines: list[Line], part: str) -> dict[tuple[str, str], Line]:
    """Return the lines of a part that hold figures, by name and card."""
    return {
        (line["name"], line["card"]): line for line in lines if line["part"] == part and "error" not in line
    }


def works_table(lines: list[Line]) -> str:
    """Return what was checked, and whether it held."""
    shown = ("share_different", "relative_gap_of_gradient", "largest_gap_of_a_weight", "passed", "failed")
    rows: list[tuple[str, ...]] = []
    for line in lines:
        if line["part"] == "works":
            found = "; ".join(f"{key} {_text(line[key])}" for key in shown if key in line)
            failed = " ".join((line.get("error") or "; ".join(line.get("errors", ()))).split())
            row = (line["name"], line["card"], "yes" if line["ok"] else "no", found or failed[:160] or "-")
            rows.append(row)
    return table(("check", "card", "holds", "found"), rows)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one:.2g}" for key, one in value.items())
    return f"{value}"


def steps_table(lines: list[Line]) -> str:
    """Return steps a second in each way, and how much of the card a step uses."""
    measured = by_name(lines, "step")
    ways = [by_name(lines, way) for way in ("graph", "compiled", "compiled_graph")]
    rows: list[tuple[str, ...]] = []
    for key in dict.fromkeys(key for found in (measured, *ways) for key in found):
        line = measured.get(key, {})
        others = [found[key] for found in ways if key in found]
        enough = line.get("windows", 2) > 1  # the first may have tried algorithms
        peak = max(one["peak_memory_gb"] for one in (line or others[0], *others))
        host = f"{line['host_ms']:.1f}" if line and enough else "-"
        rows.append(
            (
                *key,
                f"{line['steps_per_s']:.1f}" if line and enough else "-",
                *(f"{found[key]['steps_per_s']:.1f}" if key in found else "-" for found in ways),
                host,
                *_kernels(line),
                f"{peak:.1f}",
                *_shares(lines, line, [one["steps_per_s"] for one in (line, *others) if one]),
            )
        )
    columns = (
        "step",
        "card",
        "as it is, 1/s",
        "graph",
        "compiled",
        "both",
        "host ms",
        "kernels",
        "kernels ms",
    )
    return table((*columns, "GB", "of bf16 peak", "of copy speed"), rows)


def _kernels(line: Line) -> tuple[str, str]:
    """Return number and time of a step's kernels."""
    profile = line.get("profile")
    return (str(profile["kernels"]), f"{profile['kernel_ms']:.1f}") if profile else ("-", "-")


def _shares(lines: list[Line], line: Line, speeds: list[float]) -> tuple[str, str]:
    """Return the shares of the card's products and copies that the fastest way of a step reaches."""
    ceilings = [one for one in lines if one["part"] == "ceilings" and one["card"] == line.get("card")]
    if not ceilings or "work" not in line:
        return "-", "-"
    work, best, ceiling = line["work"], max(speeds), ceilings[-1]
    used = f"{100 * work['tflop'] * best / ceiling['bf16_tflop_per_s']:.1f} %"
    return used, f"{100 * work['gb'] * best / 1000 / ceiling['copy_tb_per_s']:.0f} %"


def other_table(lines: list[Line]) -> str:
    """Return predictions and the data loader."""
    rows = [
        (
            f"predict {name}",
            card,
            f"{one['1_step_s']:.3f} s; 8 samples {one['8_samples_s']:.3f} s",
            f"{one['network_1_step_one_patch_s'] * 1000:.1f} ms",
        )
        for (name, card), one in by_name(lines, "predict").items()
    ]
    rows += [
        (f"loader {name}", card, f"{one['patches_per_s']:.1f} patches/s", f"{one['workers']} workers")
        for (name, card), one in by_name(lines, "loader").items()
    ]
    rows += [
        (f"augment {name}", card, f"{one['patches_per_s']:.1f} patches/s", "on the card, one process")
        for (name, card), one in by_name(lines, "augment").items()
    ]
    return table(("what", "card", "found", "network on one patch, or workers"), rows)


def quality_table(lines: list[Line]) -> str:
    """Return the accuracy of the trainings."""
    calibrations, trained = by_name(lines, "calibration"), by_name(lines, "trained")
    rows: list[tuple[str, ...]] = []
    for key, line in by_name(lines, "quality").items():
        low, high = line["dice_interval"]
        ece = f"{calibrations[key]['figures']['ece']:.4f}" if key in calibrations else "-"
        steps = str(trained[key]["steps"]) if key in trained else "-"
        dice = f"{line['mean']['dice']:.4f} [{low:.4f}, {high:.4f}]"
        way = "CUDA graphs" if line.get("cuda_graphs") else "as it is"
        minutes = f"{line['budget_minutes']:g}"
        rows.append((line["data"], line["model"], line["card"], way, minutes, steps, dice, ece))
    return table(("data", "model", "card", "step", "minutes", "steps", "Dice", "ECE"), rows)


if __name__ == "__main__":
    main()
