"""Tables in Markdown from the records of summary.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from answers_tables import answers_table
from calibration_tables import calibration_tables
from cost_tables import memory_tables, speed_tables
from markdown_table import Record, commit_of, distance, number, spread, table, unit_of
from plots import shown
from posterior_tables import cine_tables, raters_tables
from runs import name_of
from torture_tables import torture_tables
from training_tables import ensembles_tables, fine_tune_tables
from unlike_tables import unlike_tables
from zoo_tables import zoo_tables

Rows = list[tuple[str, dict[str, Record]]]
STEPS = (1, 2, 5, 15, 50)
_ORDER = ("ldseg", "unet", "nnunet", "pixel_diffusion")
_ABLATION = {
    "training steps": ("training_steps", 0),
    "Dice": ("mean_dice", 4),
    "Dice of one call": ("mean_dice_one_call", 4),
    "Dice on training cases": ("mean_dice_in_training", 4),
    "Dice of a sample": ("dice_of_a_sample", 4),
    "Dice between samples": ("dice_between_samples", 4),
    "ceiling": ("ceiling_dice", 4),
}
_AGREEMENT = {
    "dice_ldseg": "ldseg default",
    "dice_unet": "unet",
    "dice_together": "both together, mirrored too",
    "dice_between": "one to the other",
}
_DIFFERENCE = "_difference_to_"
AFTER = "_after_"
"""Before the minutes that ours trained, where a difference is to a model that trained longer."""
_LOST = "dice_lost_"
AS_THEY_ARE = "_as_they_are"
"""Behind metrics of images that were not harmonized."""


def accuracy_tables(records: Sequence[Record]) -> str:
    """For each set and budget: scores, Dice by steps, differences, autoencoders."""
    parts: list[str] = []
    for title, chosen in by_set(records):
        rows = by_model(chosen)
        parts += [title, f"Split: {chosen[0]['split']}.", scores(rows)]
        parts += [part for part in (steps(rows), differences(chosen), autoencoders(rows)) if part]
    return "\n\n".join(parts)


def robustness_tables(records: Sequence[Record]) -> str:
    """For each set and budget: Dice lost at the strongest corruption; then the means of all sets."""
    parts: list[str] = []
    for title, chosen in by_set(records):
        picture = shown("robustness", chosen[0]["data"], chosen[0]["budget_minutes"])
        parts += [title, losses(by_model_and_seed(chosen)), picture]
    overall = share_of_control(records)
    return "\n\n".join([*parts, overall] if overall else parts)


def ablation_tables(records: Sequence[Record]) -> str:
    """For each set and budget: one row a change."""
    parts: list[str] = []
    for title, chosen in by_set(records):
        rows: dict[str, dict[str, Record]] = {}
        for record in chosen:
            rows.setdefault(record["model"], {})[record["metric"]] = record
        lines = [
            (name, *(number(found, *column) for column in _ABLATION.values()), commit_of(found))
            for name, found in rows.items()
        ]
        parts += [title, f"Split: {chosen[0]['split']}.", table(("change", *_ABLATION, "commit"), lines)]
    return "\n\n".join(parts)


def agreement_tables(records: Sequence[Record]) -> str:
    """Return a table with one row per set and budget."""
    lines: list[tuple[str, ...]] = []
    for title, chosen in by_set(records):
        found = {record["metric"]: record for record in chosen}
        figures = (spread(found[metric], 4) for metric in _AGREEMENT)
        lines.append((title.removeprefix("### "), *figures, commit_of(found)))
    return table(("trainings", *_AGREEMENT.values(), "commit"), lines) if lines else ""


TABLES: dict[str, Callable[[Sequence[Record]], str]] = {
    "accuracy": accuracy_tables,
    "answers": lambda records: "\n\n".join(
        f"{title}\n\n{answers_table(chosen)}" for title, chosen in by_set(records)
    ),
    "agreement": agreement_tables,
    "robustness": robustness_tables,
    "ablation": ablation_tables,
    "calibration": lambda records: "\n\n".join(
        calibration_tables(title, chosen) for title, chosen in by_set(records)
    ),
    "raters": raters_tables,
    "cine": cine_tables,
    "speed": speed_tables,
    "memory": memory_tables,
    "zoo": zoo_tables,
    "unlike": unlike_tables,
    "torture": torture_tables,
    "fine_tune": fine_tune_tables,
    "ensembles": ensembles_tables,
}
"""By benchmark; each has its pair of markers in README.md."""


def by_set(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """Return a heading and the records of each set and budget."""
    keys = sorted({(record["data"], record["budget_minutes"]) for record in records})
    return [
        (
            f"### {data}, {minutes:g} minutes",
            [r for r in records if (r["data"], r["budget_minutes"]) == (data, minutes)],
        )
        for data, minutes in keys
    ]


def by_model(records: Iterable[Record]) -> Rows:
    """(Name, metric to record), ours first; of each model the record of the most seeds."""
    found: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        if _DIFFERENCE in record["metric"]:
            continue
        mine = found.setdefault((record["model"], record["preset"]), {})
        known = mine.get(record["metric"])
        if known is None or seed_count(record) > seed_count(known):
            mine[record["metric"]] = record
    keys = sorted(found, key=lambda key: (_place(key[0]), key))
    return [(name_of(*key), found[key]) for key in keys]


def by_model_and_seed(records: Iterable[Record]) -> Rows:
    """Return rows like those of `by_model`, with each seed separate."""
    by_seed: dict[int, list[Record]] = {}
    for record in records:
        by_seed.setdefault(record["seed"], []).append(record)
    rows = [(name, seed, found) for seed, mine in sorted(by_seed.items()) for name, found in by_model(mine)]
    rows.sort(key=lambda row: _place(row[0]))
    return [(f"{name}, seed {seed}", found) for name, seed, found in rows]


def scores(rows: Rows) -> str:
    """Return a table with one row per model, as it predicts by default."""
    columns = (
        "model",
        "seeds",
        "training steps",
        "Dice [95 %]",
        f"HD95 {_unit(rows)} [95 %]",
        "NSD",
        "predict, CPU s",
        "memory GB",
    )
    return table(
        columns,
        [
            (
                name,
                str(seed_count(found["mean_dice"])),
                number(found, "training_steps", 0),
                spread(found["mean_dice"], 4),
                spread(distance(found, "mean_hd95"), 2),
                number(found, "nsd", 4),
                number(found, "predict_cpu_s", 2),
                number(found, "peak_rss_gb", 1),
            )
            for name, found in rows
        ],
    )


def _unit(rows: Rows) -> str:
    """Return the unit of distances of a set."""
    return unit_of(rows[0][1], "mean_hd95") if rows else "mm"


def steps(rows: Rows) -> str:
    """Return a table of mean Dice by the number of sampling steps, for models that sample."""
    lines = [
        (name, *(number(found, f"mean_dice_at_{n}_steps", 4) for n in STEPS))
        for name, found in rows
        if any(f"mean_dice_at_{n}_steps" in found for n in STEPS)
    ]
    return table(("Dice by steps", *map(str, STEPS)), lines) if lines else ""


def differences(records: Iterable[Record]) -> str:
    """ldseg's default preset minus each other model."""
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        if _DIFFERENCE in record["metric"]:
            metric, other = record["metric"].split(_DIFFERENCE)
            found.setdefault(other, {})[metric] = record
    lines = [
        (
            _compared(other),
            str(seed_count(mine["mean_dice"])),
            spread(mine["mean_dice"], 4, "+"),
            spread(distance(mine, "mean_hd95"), 2, "+"),
        )
        for other, mine in sorted(found.items(), key=lambda item: (_place(item[0]), item[0]))
    ]
    unit = unit_of(next(iter(found.values()), {}), "mean_hd95")
    columns = ("ldseg default minus", "seeds", "Dice [95 %, paired]", f"HD95 {unit} [95 %, paired]")
    return table(columns, lines) if lines else ""


def autoencoders(rows: Rows) -> str:
    """Return a table of the autoencoder ceiling."""
    lines = [
        (
            name,
            number(found, "ceiling_dice", 4),
            number(found, "empty_mask_foreground", 4),
            number(found, "lone_6_voxel_object_dice", 4),
        )
        for name, found in rows
        if "ceiling_dice" in found
    ]
    columns = (
        "autoencoder",
        "Dice of decode(encode(mask))",
        "foreground of an empty mask",
        "Dice of a lone object",
    )
    return table(columns, lines) if lines else ""


def losses(rows: Rows) -> str:
    """Dice on clean images minus Dice at the strongest corruption, harmonized and not."""
    found = [metric for _, mine in rows for metric in mine if metric.startswith(_LOST)]
    corruptions = list(dict.fromkeys(metric.removesuffix(AS_THEY_ARE) for metric in found))
    lines = [
        (name + words, *(spread(mine[one + way], 3) if one + way in mine else "-" for one in corruptions))
        for name, mine in rows
        for way, words in (("", ""), (AS_THEY_ARE, ", images as they are"))
        if any(one + way in mine for one in corruptions)
    ]
    names = [one.removeprefix(_LOST).replace("_", " ") for one in corruptions]
    return table(("Dice lost [95 %]", *names), lines)


def share_of_control(records: Sequence[Record]) -> str:
    """What ldseg's default preset and `unet` lose, with harmonized images and without, where all four are
    known; and shares of what `unet` loses without."""
    lost = {
        (r["data"], r["budget_minutes"], r["seed"], r["model"], r["metric"]): r["value"]
        for r in records
        if r["metric"].removesuffix(AS_THEY_ARE) == f"{_LOST}mean" and r["preset"] == "default"
    }
    columns = [(model, f"{_LOST}mean{way}") for way in ("", AS_THEY_ARE) for model in ("ldseg", "unet")]
    trainings = sorted({key[:3] for key in lost})
    rows = [
        (f"{data}, {minutes:g} minutes, seed {seed}", [lost[(data, minutes, seed, *one)] for one in columns])
        for data, minutes, seed in trainings
        if all((data, minutes, seed, *one) in lost for one in columns)
    ]
    if not rows:
        return ""
    means = [sum(column) / len(rows) for column in zip(*(values for _, values in rows), strict=True)]
    lines = [
        (name, *(f"{value:.4f}" for value in values), *(_share(value, values[-1]) for value in values[:3]))
        for name, values in [*rows, ("mean of all", means)]
    ]
    names = ("ldseg default", "unet", "ldseg default, as they are", "unet, as they are")
    shares = ("ldseg's share of the last", "unet's", "ldseg's, as they are")
    return table(("Dice lost, mean of all corruptions", *names, *shares), lines)


def _compared(name: str) -> str:
    """Whom a difference is to, and after which time of ours where it is a shorter one."""
    other, _, time = name.partition(AFTER)
    shown = other.replace("_", " ") if other.startswith("ldseg") else other
    return f"{shown} (ldseg after {time.replace('_', ' ')})" if time else shown


def _share(value: float, of: float) -> str:
    return f"{value / of:.2f}" if of > 0 else "-"


def seed_count(record: Record) -> int:
    return len(record["seed"]) if isinstance(record["seed"], list) else 1


def _place(name: str) -> int:
    """Where a model stands in a table."""
    return next((index for index, model in enumerate(_ORDER) if name.startswith(model)), len(_ORDER))
