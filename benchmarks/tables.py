"""Tables in Markdown from the figures of summary.json: one for each question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from accuracy_tables import accuracy_table, budgets_table, overview, steps_table
from cost_tables import memory_tables, speed_tables
from markdown_table import Record, mean_of_cases, number, spread, table
from plan import MODELS
from plots import shown
from runs import name_of
from training_tables import ensembles_tables, fine_tune_tables

Column = tuple[str, str, int]
"""Its title, its metric, digits after the point."""
Key = Callable[[Record], str]
AS_THEY_ARE = "_as_they_are"
"""Behind metrics of images that were not harmonized."""
LOST = "dice_lost_"
_CALIBRATED = "_calibrated"
_OF = "_of_"
_AMBIGUITY = {"ged2": "GED²", "hm_iou": "HM-IoU", "sample_diversity": "diversity"}
_ABLATED = "validation_dice_steps_15"
ABLATION = {
    **{f"validation_dice_steps_{n}": f"{n} steps" for n in (2, 15, 50)},
    "validation_dice_noise_0.2": "noise .2",
    "training_steps": "training steps",
}
"""The metrics of changes to the published recipe, and their columns."""
_TORTURE = {
    "kill -9 of a training, each followed by resume": "kills_training_kills",
    "trainings that ended bit-equal to the uninterrupted one": "kills_trainings_ended",
    "kill -9 of a prediction": "kills_prediction_kills",
    "commands on a full disk": "full_disks_times",
    "of these refused in one line, nothing lost": "full_disks_refused",
    "predictions, 4 formats in 48 orientations, half of them oblique": "orientations_predicted",
    "faults in all": "faults",
}
_TRIED = {"kept": "yes", "optional": "as an option", "not_kept": "no"}


def rows_of(records: Sequence[Record], keys: Sequence[Key]) -> dict[tuple[str, ...], dict[str, list[Record]]]:
    """Return the records of each row of a table, in the order of the first, by metric."""
    rows: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    for record in records:
        row = rows.setdefault(tuple(key(record) for key in keys), {})
        row.setdefault(record["metric"], []).append(record)
    return rows


def listing(records: Sequence[Record], keys: dict[str, Key], columns: Sequence[Column]) -> str:
    """Return a table with a row for each value of `keys` that has a figure of the columns. Cells are means
    over seeds and folds, by cases."""
    tabled = {metric for _, metric, _ in columns}
    rows = rows_of([record for record in records if record["metric"] in tabled], list(keys.values()))
    lines = [
        (
            *row,
            str(max(map(len, found.values()))),
            *(mean_of_cases(found.get(metric, []), digits) for _, metric, digits in columns),
            _commits(found),
        )
        for row, found in rows.items()
    ]
    titles = (*keys, "trainings", *(title for title, _, _ in columns), "commit")
    return table(titles, lines) if lines else ""


def _commits(found: dict[str, list[Record]]) -> str:
    return ", ".join(dict.fromkeys(record["commit"] for records in found.values() for record in records))


def _data(record: Record) -> str:
    return record["data"]


def _model(record: Record) -> str:
    return name_of(record["model"], record["preset"])


def _plain_model(record: Record) -> str:
    return record["model"]


def _minutes(record: Record) -> str:
    return f"{record['budget_minutes']:g}"


def calibration_table(records: Sequence[Record]) -> str:
    """Return a table with one row per set and model: each figure as it is, and calibrated."""
    scaled = [
        {**record, "value": 1000 * record["value"]} if record["metric"].startswith("aurc") else record
        for record in sorted(records, key=lambda one: (one["data"], _place(one)))
    ]
    figures = (
        ("ECE", "ece", 4),
        ("near structures", "ece_near", 4),
        ("NLL", "nll", 4),
        ("volumes in 90 % intervals", "interval_coverage", 2),
        ("Dice expected minus found", "expected_dice_excess", 3),
    )
    columns = [
        (f"{title}{words}", f"{metric}{suffix}", digits)
        for title, metric, digits in figures
        for words, suffix in (("", ""), (", calibrated", _CALIBRATED))
    ]
    columns += [("Brier", "brier", 4), ("AURC of voxels, 1e-3", "aurc", 2), ("of cases", "case_aurc", 3)]
    listed = listing(scaled, {"set": _data, "model": _model, "CPU minutes": _minutes}, columns)
    return "\n".join([listed, "", _pictures("calibration", records)]) if records else ""


def robustness_table(records: Sequence[Record]) -> str:
    """Return a table of what the strongest corruptions cost, of images as they are and of harmonized ones."""
    lost = [record for record in records if record["metric"].startswith(LOST)]
    lost.sort(key=lambda one: (one["data"], _place(one)))
    rows = rows_of(lost, [_data, _model, _minutes])
    metrics = list(dict.fromkeys(record["metric"].removesuffix(AS_THEY_ARE) for record in lost))
    lines = [
        (
            *row,
            *(
                ", ".join(mean_of_cases(found.get(way, []), 3) for way in (metric + AS_THEY_ARE, metric))
                for metric in metrics
            ),
            _commits(found),
        )
        for row, found in rows.items()
    ]
    titles = [metric.removeprefix(LOST).replace("_", " ") for metric in metrics]
    listed = table(("set", "model", "CPU minutes", *titles, "commit"), lines)
    return "\n".join([listed, "", _pictures("robustness", records)]) if records else ""


def _pictures(benchmark: str, records: Sequence[Record]) -> str:
    """Return the pictures of a benchmark's sets, side by side."""
    return " ".join(shown(benchmark, data) for data in sorted({record["data"] for record in records}))


def raters_table(records: Sequence[Record]) -> str:
    """Return a table with one row per model and source of a distribution: samples and as many level sets of
    their mean, or the level sets of the deterministic prediction of a model without samples. Fifty level
    sets, which differ little from sixteen, stand in results/ alone."""
    told = _by_source(records)
    sampled = {(one["data"], one["model"]) for one in told if one["source"].endswith("samples")}
    kept = [
        one
        for one in told
        if not (one["source"].endswith("deterministic") and (one["data"], one["model"]) in sampled)
        and not one["source"].startswith("50 levels")
    ]
    columns = (
        ("GED²", "ged2", 3),
        ("HM-IoU", "hm_iou", 3),
        ("Dice to the majority", "majority_dice", 3),
        ("diversity", "sample_diversity", 3),
        ("of raters", "rater_diversity", 3),
        ("Brier", "brier", 4),
        ("soft ECE", "soft_ece", 4),
        ("volumes in 90 % intervals", "covered", 3),
        ("Dice with raters", "rater_dice", 3),
        ("by expected Dice", "decided_rater_dice", 3),
    )
    keys: dict[str, Key] = {"set": _data, "model": _model, "CPU minutes": _minutes}
    keys["distribution"] = lambda record: record["source"] or "samples"
    return listing(kept, keys, columns)


def _by_source(records: Sequence[Record]) -> list[Record]:
    """Return the records with the source of a distribution, "" for none, apart from the metric's name."""
    return [
        {**record, "metric": metric, "source": source.replace("_", " ")}
        for record in records
        for metric, _, source in [record["metric"].partition(_OF)]
    ]


def sampling_table(records: Sequence[Record]) -> str:
    """Return a table with one row per set and way to draw samples."""
    columns = (
        ("GED²", "ged2", 4),
        ("HM-IoU", "hm_iou", 3),
        ("diversity", "sample_diversity", 3),
        ("volumes in 90 % intervals", "covered", 2),
    )
    keys: dict[str, Key] = {"set": _data, "CPU minutes": _minutes, "samples": lambda one: one["source"]}
    return listing(_by_source(records), keys, columns)


def inclusion_table(records: Sequence[Record]) -> str:
    """Return a table of how often samples include what a share of the raters includes, and how much of it."""
    columns = (
        ("raters include it", "rater_frequency", 2),
        ("samples include it", "sample_frequency", 2),
        ("of the case with the least", "sample_frequency_lowest_case", 2),
        ("with the most", "sample_frequency_highest_case", 2),
        ("samples with a part of it", "samples_with_a_part", 2),
        ("samples with one of two", "samples_with_one_of_two", 2),
    )
    return listing(records, {"set": _data, "model": _model, "CPU minutes": _minutes}, columns)


def rater_levels_table(records: Sequence[Record]) -> str:
    """Return a table of how near half of the raters, and level sets of their mean, come to the others."""
    told = [record for record in _by_source(records) if record["source"]]
    lines = [
        (
            *row,
            *(number({k: v[0] for k, v in found.items()}, metric, 3) for metric in _AMBIGUITY),
            _commits(found),
        )
        for row, found in rows_of(told, [_data, lambda record: record["source"]]).items()
    ]
    return table(("set", "against the other half", *_AMBIGUITY.values(), "commit"), lines) if lines else ""


def paper_table(records: Sequence[Record]) -> str:
    """Return a table of validation Dice by steps and by noise, one row per set, size and variant."""
    metrics = list(dict.fromkeys(record["metric"] for record in records))
    curves = [one for one in metrics if one.startswith(("validation_dice_steps_", "validation_dice_noise_"))]
    columns = [("training steps", "training_steps", 0)]
    columns += [(" ".join(one.removeprefix("validation_dice_").split("_")), one, 3) for one in curves]
    return listing(records, {"set": _data, "side": _side, "variant": _plain_model}, columns)


def _side(record: Record) -> str:
    """Return the pixels along each axis of a 2D image, as the command says."""
    return _option(record, "--side", "-")


def _option(record: Record, name: str, default: str) -> str:
    """Return what a record's command gives for an option."""
    words = str(record["command"]).split()
    return words[words.index(name) + 1] if name in words else default


def ablation_table(records: Sequence[Record]) -> str:
    """Return a table of what each change of the published recipe gives, one row per set and change, that
    which loses most first. Differences are to the published recipe with the same seed on the same device."""
    told = [{**one, "model": one["model"].replace("_", " ")} for one in records]
    scored = [one for one in told if one["metric"] == _ABLATED]
    published = {_beside(one): one["value"] for one in scored if one["model"] == "as published"}
    gains = [
        {**one, "metric": "gain", "value": one["value"] - published[_beside(one)]}
        for one in scored
        if _beside(one) in published
    ]
    values: dict[tuple[str, str], list[float]] = {}
    for one in gains:
        values.setdefault((one["data"], one["model"]), []).append(one["value"])
    gains.sort(key=lambda one: (one["data"], mean(values[one["data"], one["model"]])))
    columns = [(title, metric, 0 if metric == "training_steps" else 3) for metric, title in ABLATION.items()]
    columns.insert(3, ("15 steps, minus as published", "gain", 3))
    return listing([*gains, *told], {"set": _data, "change": _plain_model}, columns)


def _beside(record: Record) -> tuple[str, int, str]:
    """Return what trainings share whose difference is that of their recipes: set, seed and device."""
    return record["data"], record["seed"], _option(record, "--device", "cpu")


def zoo_table(records: Sequence[Record]) -> str:
    """Return a table with one row per shipped model: scores on its test cases, and what it says of images of
    another kind."""
    told = [
        {**one, "metric": one["metric"].removesuffix("_mm").removesuffix("_px")}
        for one in sorted(records, key=lambda one: one["model"])
    ]
    columns = (
        ("Dice", "mean_dice", 3),
        ("of the mean of samples", "mean_dice_of_samples", 3),
        ("HD95, mm or px", "mean_hd95", 2),
        ("ECE", "ece", 4),
        ("volumes in 90 % intervals", "interval_coverage", 2),
        ("Dice expected minus found", "expected_dice_excess", 3),
        ("own images flagged", "unlike_own_flagged", 3),
        ("of the worst other set", "unlike_others_flagged", 3),
        ("of the worst change", "unlike_changed_flagged", 3),
        ("confidence", "confidence_own", 3),
        ("in the worst other set", "confidence_others", 3),
    )
    return listing(told, {"model": _plain_model, "set": _data}, columns)


def torture_table(records: Sequence[Record]) -> str:
    """Return a table of what was tried, and how much of it; empty without records."""
    if not records:
        return ""
    first, found = records[0], {record["metric"]: record["value"] for record in records}

    kinds = [metric.removesuffix("_tried") for metric in found if metric.endswith("_tried")]

    def by_kind(figure: str) -> list[float]:
        return [found[f"{kind}_{figure}"] for kind in kinds]

    parts = [
        (f"inputs of {len(kinds)} kinds", f"{sum(by_kind('tried')):.0f}"),
        ("of these refused in one line", f"{sum(by_kind('refused')):.0f}"),
        ("most CPU seconds of one", f"{max(by_kind('cpu_s')):.1f}"),
        ("largest process, GB", f"{max(by_kind('peak_gb')):.2f}"),
    ]
    parts += [(words, f"{found[metric]:.0f}") for words, metric in _TORTURE.items() if metric in found]
    bounds = first["split"].removeprefix("bounds: ")
    return table((f"bounds: {bounds}; commit {first['commit']}, seed {first['seed']}", "number"), parts)


def tried_table(records: Sequence[Record]) -> str:
    """Return a table of changes and what they gave, with a column a set."""
    sets = list(dict.fromkeys(record["data"] for record in records))
    rows = rows_of([{**one, "kept": one["metric"], "metric": one["data"]} for one in records], [_plain_model])
    lines = [
        (
            name,
            *(spread(found[data][0], 4, "+") if data in found else "-" for data in sets),
            _TRIED[next(iter(found.values()))[0]["kept"].removeprefix("dice_difference_")],
            _commits(found),
        )
        for (name,), found in rows.items()
    ]
    return table(("change", *sets, "kept", "commit"), lines) if lines else ""


def _place(record: Record) -> int:
    """Return where a model stands in a table."""
    model = record["model"], record["preset"]
    return MODELS.index(model) if model in MODELS else len(MODELS)


Table = Callable[[Sequence[Record]], str]
TABLES: dict[str, dict[str, tuple[tuple[str, ...], Table]]] = {
    "README.md": {
        "accuracy": (("accuracy",), accuracy_table),
        "steps": (("accuracy",), steps_table),
        "calibration": (("calibration",), calibration_table),
        "robustness": (("robustness",), robustness_table),
        "raters": (("raters",), raters_table),
        "rater_levels": (("rater_levels",), rater_levels_table),
        "inclusion": (("raters",), inclusion_table),
        "zoo": (("zoo", "unlike"), zoo_table),
    },
    "variants.md": {
        "paper": (("paper_curves",), paper_table),
        "ablation": (("paper_ablation",), ablation_table),
        "fine_tune": (("fine_tune",), fine_tune_tables),
        "ensembles": (("ensembles",), ensembles_tables),
        "sampling": (("sampling",), sampling_table),
        "tried": (("tried",), tried_table),
    },
    "costs.md": {
        "speed": (("speed",), speed_tables),
        "memory": (("memory",), memory_tables),
        "torture": (("torture",), torture_table),
    },
    "../docs/training.md": {"budgets": (("accuracy", "fine_tune"), budgets_table)},
    "../README.md": {"overview": (("accuracy", "calibration", "raters"), overview)},
}
"""By page and the name of its markers there: the benchmarks it is made of, and how."""
