"""All figures of results/ as summary.json, and the tables of the pages between their markers (`tables` names
the pages).

    python benchmarks/summary.py

A result of `accuracy.py` gives records per number of sampling steps and per seed, records of all seeds
together, and paired differences between ldseg's default preset and every other model of the same set and
seeds. Results of other benchmarks are read by `OTHERS`, a new one is a function and a line there; one that
holds finished records under "records" needs neither. The same results give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accuracy_tables import AFTER, dice_by_minutes
from cost_tables import draw_costs
from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.metrics.intervals import mean_interval, paired_difference
from markdown_table import weighted_mean
from plan import OURS
from plots import DRAWN, draw_minutes, draw_plots, draw_training
from runs import METRICS, OWN, Run, by_seed, in_unit_of, pooled, read_runs
from store import read_results
from tables import ABLATION, AS_THEY_ARE, LOST, TABLES

Record = dict[str, Any]
Result = dict[str, Any]
RUN_KEYS = ("benchmark", "data", "split", "model", "preset", "seed", "budget_minutes", "command", "commit")
FIGURE_KEYS = ("metric", "value", "low", "high", "cases")
KEYS = (*RUN_KEYS, *FIGURE_KEYS)
_ALIKE = ("data", "model", "preset", "seed", "budget_minutes", "commit", "metric")
"""What the folds of one cross-validation share, beside their command without the fold."""
_COMPARED = ("dice", "hd95_mm", "hd95_px")
_DETAILS = ("classwise_ece", "excess_aurc", "case_excess_aurc", "dice_match", "staple_dice")
"""Beginnings of metrics that stand in results/ alone: the summary has one of their kind."""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    here = Path(__file__).parent
    parser.add_argument("--folder", type=Path, default=here, help="with results/, README.md and summary.json")
    folder: Path = parser.parse_args(argv).folder
    results = read_results(folder / "results")
    records = read_records(results)
    for path, text in written(folder, records).items():
        path.write_text(text, encoding="utf-8")
    draw_costs([r for r in records if r["benchmark"] == "memory"], folder)
    draw_minutes(dice_by_minutes([r for r in records if r["benchmark"] == "accuracy"]), folder)
    draw_training([r for r in results.values() if r.get("benchmark") == "paper_curves"], folder)
    draw_plots([r for r in results.values() if r.get("benchmark") in DRAWN], folder)


def written(folder: Path, records: list[Record]) -> dict[Path, str]:
    """Return the text of summary.json and of all pages that hold tables, with the tables of these records."""
    texts = {folder / "summary.json": as_summary(folds_together(records))}
    for page, tables in TABLES.items():
        path = folder / page
        if path.is_file():
            drawn = {
                name: draw([record for record in records if record["benchmark"] in benchmarks])
                for name, (benchmarks, draw) in tables.items()
            }
            texts[path] = rewritten(path, drawn)
    return texts


def folds_together(records: list[Record]) -> list[Record]:
    """Return the records with the folds of a cross-validation of raters as one: the mean by cases."""
    groups: dict[Any, list[Record]] = {}
    for number, record in enumerate(records):
        command, _, fold = str(record["command"]).partition(" --fold ")
        folded = record["benchmark"] == "raters" and fold
        key = (command, *(record[name] for name in _ALIKE)) if folded else number
        groups.setdefault(key, []).append({**record, "command": command} if folded else record)
    return [group[0] if len(group) == 1 else _mean_of_folds(group) for group in groups.values()]


def _mean_of_folds(folds: list[Record]) -> Record:
    """Return one record for those of several folds."""
    alone = {"split": f"{len(folds)} folds, by subject", "low": None, "high": None}
    cases = sum(one["cases"] for one in folds)
    return {**folds[0], **alone, "value": weighted_mean(folds), "cases": cases}


def as_summary(records: list[Record]) -> str:
    """Return the text of summary.json: the runs, and the figures, each with the place of its run among them.

    A figure a line, so that a new one is one line of a difference.
    """
    runs: dict[str, int] = {}
    figures: list[str] = []
    for record in records:
        run = json.dumps({key: record[key] for key in RUN_KEYS}, ensure_ascii=False)
        number = runs.setdefault(run, len(runs))
        figure = {key: _short(record[key]) for key in FIGURE_KEYS if record[key] is not None}
        figures.append(json.dumps({"run": number, **figure}, ensure_ascii=False, separators=(",", ":")))
    parts = [",\n".join(f"  {line}" for line in lines) for lines in (runs, figures)]
    return '{{\n "runs": [\n{}\n ],\n "figures": [\n{}\n ]\n}}\n'.format(*parts)


def _short(value: Any) -> Any:
    """Return a number with six digits: more are noise, and a third of the file."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read_records(results: dict[str, Result]) -> list[Record]:
    """Return the records of all figures, from results by name."""
    runs = read_runs(result for result in results.values() if result.get("benchmark") == "accuracy")
    every = [*runs, *(pooled(group) for group in by_seed(runs).values() if len(group) > 1)]
    records = [record for run in every for record in run_records(run)] + difference_records(runs)
    for name, result in results.items():
        benchmark = result.get("benchmark", "")
        if benchmark in OTHERS:
            records += OTHERS[benchmark](result)
        elif "records" in result:
            records += [_ready_record(record) for record in result["records"]]
        elif benchmark != "accuracy":
            sys.stderr.write(f"{name}: is of no known benchmark and holds no records; left out\n")
    return [record for record in records if not record["metric"].startswith(_DETAILS)]


def _ready_record(record: Record) -> Record:
    """Return a record as a benchmark wrote it, with its metric in the unit of its set."""
    metric = in_unit_of(str(record.get("data")), record["metric"])
    return {key: {**record, "metric": metric}.get(key) for key in KEYS}


def raters_records(result: Result) -> list[Record]:
    """Return the figures of a model's distribution. Where it has samples, whose mean has level sets too, of
    its deterministic prediction there is the Dice alone."""
    records = [_ready_record(record) for record in result["records"]]
    sampled = {one["model"] for one in records if one["metric"].endswith("_samples")}
    of_levels = "_levels_of_the_deterministic"
    return [
        one
        for one in records
        if not (one["model"] in sampled and one["metric"].endswith(of_levels))
        or one["metric"].startswith("rater_dice")
    ]


def ablation_records(result: Result) -> list[Record]:
    """Return the figures of a changed recipe that its table shows; the others stand in results/ alone."""
    return [_ready_record(record) for record in result["records"] if record["metric"] in ABLATION]


def calibration_records(result: Result) -> list[Record]:
    """Return the figures of predictions before and after calibration."""
    return [
        _record(result, f"{metric}{suffix}", value)
        for kind, suffix in (("plain", ""), ("calibrated", "_calibrated"))
        for metric, value in result[kind]["figures"].items()
    ]


def robustness_records(result: Result) -> list[Record]:
    """Return what the strongest corruptions cost: Dice of clean images minus that of corrupted ones."""
    found: list[Record] = []
    lost: dict[str, list[float]] = {}
    way = "" if result.get("harmonized") else AS_THEY_ARE
    names = sorted(result["subjects"])
    subjects = [result["subjects"][name] for name in names]
    for corruption, curve in result["curves"].items():
        clean, *worse = curve["points"]
        lost[corruption] = [clean["cases"][name]["dice"] - worse[-1]["cases"][name]["dice"] for name in names]
    if set(lost) == set(CORRUPTIONS):
        lost["mean"] = [sum(case) / len(case) for case in zip(*lost.values(), strict=True)]
    for corruption, values in lost.items():
        mean, interval = sum(values) / len(values), mean_interval(values, subjects)
        found.append(_record(result, f"{LOST}{corruption}{way}", mean, interval, len(names)))
    return found


def zoo_records(result: Result) -> list[Record]:
    """Return a shipped model's scores by default and by the mean of its samples, and its calibration."""
    own, cases = result["own"], len(result["own"]["cases"])
    means = {in_unit_of(result["data"], metric): value for metric, value in own["mean"].items()}
    figures = {METRICS[metric]: value for metric, value in means.items() if metric != "dice"}
    figures |= {
        "mean_dice_of_samples": result["posterior"]["dice"],
        "training_steps": result["training_steps"],
    }
    return [
        _record(result, "mean_dice", own["mean"]["dice"], tuple(own["dice_interval"]), cases),
        *(_record(result, metric, value) for metric, value in {**figures, **result["calibration"]}.items()),
    ]


OTHERS: dict[str, Callable[[Result], list[Record]]] = {
    "calibration": calibration_records,
    "paper_ablation": ablation_records,
    "raters": raters_records,
    "robustness": robustness_records,
    "zoo": zoo_records,
}
"""By the name of the benchmark: from a result to its records."""


def run_records(run: Run) -> list[Record]:
    """Return means with intervals as the model predicts by default, Dice by steps, and single figures."""
    found = [_score(run, metric, OWN, name) for metric, name in run.metrics.items()]
    found += [
        _score(run, "dice", steps, f"{METRICS['dice']}_at_{steps}_steps")
        for steps in run.cases
        if steps != OWN
    ]
    found.append(_record(run.header, "predict_cpu_s", run.predict_cpu_s[OWN]))
    return found + [_record(run.header, name, value) for name, value in run.figures.items()]


def difference_records(runs: list[Run]) -> list[Record]:
    """Ours minus each other model of the same set and budget, over the seeds that both have; where ours has
    no training of that budget, its longest shorter one."""
    groups = by_seed(runs)
    found: list[Record] = []
    for (data, crossed, minutes, *model), others in groups.items():
        if tuple(model) == OURS:
            continue
        trained = [key[2] for key in groups if key == (data, crossed, key[2], *OURS) and key[2] <= minutes]
        ours = groups.get((data, crossed, max(trained, default=minutes), *OURS), [])
        seeds = sorted({run.seeds[0] for run in ours} & {run.seeds[0] for run in others})
        if seeds:
            a = pooled([run for run in others if run.seeds[0] in seeds])
            b = pooled([run for run in ours if run.seeds[0] in seeds])
            found += [_difference(a, b, metric) for metric in _COMPARED if metric in b.metrics]
    return found


def rewrite(path: Path, drawn: dict[str, str]) -> None:
    """Put each of these tables between its markers on a page."""
    path.write_text(rewritten(path, drawn), encoding="utf-8")


def rewritten(path: Path, drawn: dict[str, str]) -> str:
    """Return the text of a page with each of these tables between its markers."""
    page = path.read_text(encoding="utf-8")
    for name, tables in drawn.items():
        page = with_tables(page, name, tables)
    return page


def with_tables(page: str, name: str, tables: str) -> str:
    """`page` with `tables` between the markers `name`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {begin} and {end} once each")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{tables or 'No results yet.'}\n\n{end}{rest.split(end)[1]}"


def _score(run: Run, metric: str, steps: int, name: str) -> Record:
    values = run.column(metric, steps)
    mean = sum(values) / len(values)
    bounds = (0.0, 1.0) if metric in ("dice", "nsd") else (0.0, math.inf)
    return _record(run.header, name, mean, mean_interval(values, run.subjects(), bounds=bounds), len(values))


def _difference(a: Run, b: Run, metric: str) -> Record:
    """b minus a as each predicts by default, case by case; in the name of b, beside a."""
    if sorted(a.cases[OWN]) != sorted(b.cases[OWN]):
        raise ValueError(
            f"{a.name} and {b.name} on {a.data} have different test cases; run one of them again"
        )
    found = paired_difference(a.column(metric, OWN), b.column(metric, OWN), b.subjects())
    name = f"{METRICS[metric]}_difference_to_{a.name.replace(' ', '_')}"
    if b.budget_minutes < a.budget_minutes:
        name += f"{AFTER}{b.budget_minutes:g}_minutes"
    header = {**b.header, "budget_minutes": a.budget_minutes}
    return _record(header, name, found.mean, found.interval, len(b.subjects()))


def _record(
    header: dict[str, Any],
    metric: str,
    value: float,
    interval: tuple[float, float] | None = None,
    cases: int | None = None,
) -> Record:
    low, high = interval if interval is not None else (None, None)
    measured = {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high), "cases": cases}
    return {key: {**header, **measured, "metric": metric}[key] for key in KEYS}


def _rounded(value: float | None) -> float | None:
    """Far below what a seed changes; keeps the file the same where the last bits of a mean differ."""
    return None if value is None else round(value, 6)


if __name__ == "__main__":
    main()
