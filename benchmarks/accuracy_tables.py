"""Tables of `accuracy.py`: models at equal training time, steps, longer trainings, and the overview."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import mean

from markdown_table import Record, distance, mean_of_cases, number, spread, table, unit_of
from plan import CONTROL, MODELS, NNUNET, OURS, Model, main_budget
from plots import shown
from runs import name_of
from sets import SETS

Found = dict[str, Record]
"""By metric, of the most seeds."""
STEPS = (1, 2, 5, 15, 50)
DIFFERENCE = "mean_dice_difference_to_"
AFTER = "_after_"
"""Before the minutes that ours trained, where a difference is to a model that trained longer."""
_CROSSED = "folds by subject"
_GED = {OURS[0]: "ged2_of_16_samples", CONTROL[0]: "ged2_of_16_levels_of_the_deterministic"}
_RATED_DICE = "rater_dice_of_16_levels_of_the_deterministic"


def accuracy_table(records: Sequence[Record]) -> str:
    """Return a table with one row per set and model, of the set's budget or the one nearest to it."""
    rows: list[tuple[str, ...]] = []
    for data, mine in _by_data(records).items():
        for (model, minutes), found in _shown(data, mine).items():
            unit = unit_of(found, "mean_hd95")
            rows.append(
                (
                    data,
                    name_of(*model),
                    f"{minutes:g}",
                    str(seed_count(found["mean_dice"])),
                    number(found, "training_steps", 0),
                    spread(found["mean_dice"], 4),
                    _difference(mine, model, minutes),
                    f"{distance(found, 'mean_hd95')['value']:.2f} {unit}",
                    number(found, "nsd", 3),
                    number(found, "predict_cpu_s", 2),
                    number(found, "peak_rss_gb", 1),
                    found["mean_dice"]["commit"],
                )
            )
    columns = (
        "set",
        "model",
        "CPU minutes",
        "seeds",
        "training steps",
        "Dice [95 %]",
        "`ldseg default` minus it [95 %]",
        "HD95",
        "NSD",
        "predict, CPU s",
        "GB",
        "commit",
    )
    pictures = " ".join(shown("minutes", data) for data in dice_by_minutes(records))
    return "\n".join([table(columns, rows), *(["", pictures] if pictures else [])]) if rows else ""


def steps_table(records: Sequence[Record]) -> str:
    """Return a table of Dice by the number of sampling steps and of what the autoencoder holds."""
    rows = [
        (
            data,
            name_of(*model),
            *(number(found, f"mean_dice_at_{n}_steps", 4) for n in STEPS),
            number(found, "ceiling_dice", 4),
            number(found, "empty_mask_foreground", 4),
            number(found, "lone_6_voxel_object_dice", 2),
        )
        for data, mine in _by_data(records).items()
        for (model, _), found in _shown(data, mine).items()
        if any(f"mean_dice_at_{n}_steps" in found for n in STEPS)
    ]
    coder = ("decode(encode(mask))", "foreground of an empty mask", "lone object")
    return table(("set", "model", *(f"{n} steps" for n in STEPS), *coder), rows) if rows else ""


def dice_by_minutes(records: Sequence[Record]) -> dict[str, dict[str, list[Record]]]:
    """Return the mean Dice of each model by its CPU minutes, ascending, of the sets where nnU-Net was trained
    too; presets other than the default are left out."""
    curves: dict[str, dict[str, list[Record]]] = {}
    for data, mine in _by_data(records).items():
        found = _by_budget(mine)
        models = {model for model, _ in found}
        if NNUNET in models:
            curves[data] = {
                name_of(*model): [found[key]["mean_dice"] for key in sorted(found) if key[0] == model]
                for model in (OURS, CONTROL, NNUNET)
                if model in models
            }
    return curves


def budgets_table(records: Sequence[Record]) -> str:
    """Return a table of the Dice of ours and of the control by CPU minutes, where several were tried: from
    nothing, on as many cases of a set."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        learnt = re.search(r"(\d+)(?: subjects to)? train", record["split"])
        if learnt and (record["model"], record["preset"]) in (OURS, CONTROL):
            groups.setdefault((record["data"], int(learnt[1])), []).append(record)
    rows: list[tuple[str, ...]] = []
    for (data, learnt), mine in sorted(groups.items()):
        cells = [_curve(_by_budget(mine), model) for model in (OURS, CONTROL)]
        if cells[0].count(":") > 1:
            rows.append((data, str(learnt), *(cell or "-" for cell in cells)))
    columns = ("set", "cases, or subjects, to train on", "CPU minutes: Dice of `ldseg`", "of `unet`")
    return table(columns, rows) if rows else ""


def overview(records: Sequence[Record]) -> str:
    """Return the table of the front page: of each set the figures that a user asks for first."""
    chosen = [record for record in records if record["preset"] == "default"]
    accuracy = [record for record in chosen if record["benchmark"] == "accuracy"]
    rows: list[tuple[str, ...]] = []
    for data, mine in _by_data(accuracy).items():
        compared = {model: found for (model, _), found in _shown(data, mine).items() if model != NNUNET}
        nnunet = [found["mean_dice"] for (model, _), found in _shown(data, mine).items() if model == NNUNET]
        if OURS not in compared or CONTROL not in compared:
            continue
        dice = compared[OURS]["mean_dice"]
        same = [one for one in nnunet if one["budget_minutes"] == dice["budget_minutes"]]
        rows.append(
            (
                data,
                f"{dice['budget_minutes']:g}",
                str(min(seed_count(compared[model]["mean_dice"]) for model in (OURS, CONTROL))),
                *(spread(compared[model]["mean_dice"], 3) for model in (OURS, CONTROL)),
                *([spread(same[0], 3)] if same else ["-"]),
                *(
                    _mean(chosen, data, dice["budget_minutes"], model, metric, digits, scale)
                    for metric, digits, scale in (("ece_calibrated", 4, 1), ("aurc", 2, 1000))
                    for model in (OURS, CONTROL)
                ),
                "-",
                "-",
            )
        )
    rows = sorted([*rows, *_rated_rows([one for one in chosen if one["benchmark"] == "raters"])])
    names = ("Dice, `ldseg`", "`unet`", "nnU-Net")
    confidence = ("ECE, `ldseg`", "`unet`", "AURC 1e-3, `ldseg`", "`unet`", "GED², `ldseg`", "`unet`")
    return table(("set", "CPU minutes", "trainings", *names, *confidence), rows) if rows else ""


def _rated_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Return the rows of the sets with several raters: means over the cases of the trainings that both models
    have, and the GED² of samples beside that of as many level sets of the control's probabilities."""
    rows: list[tuple[str, ...]] = []
    for data, every in _by_data(record for record in records if record["data"] in SETS).items():
        trained = {((one["model"], one["preset"]), one["budget_minutes"], one["seed"]) for one in every}
        minutes = main_budget(data, trained)
        mine = [record for record in every if record["budget_minutes"] == minutes]
        found = {
            (record["model"], record["split"], record["seed"], record["metric"]): record for record in mine
        }
        runs = sorted({(split, seed) for _, split, seed, _ in found})
        shared = [run for run in runs if all((model, *run, ged) in found for model, ged in _GED.items())]
        if not shared:
            continue
        means = [
            mean_of_cases([found[(model, *run, metric)] for run in shared], 3)
            for by_model in (dict.fromkeys(_GED, _RATED_DICE), _GED)
            for model, metric in by_model.items()
        ]
        rows.append((data, f"{minutes:g}", str(len(shared)), *means[:2], *["-"] * 5, *means[2:]))
    return rows


def seed_count(record: Record) -> int:
    """Return over how many trainings a figure was taken."""
    return len(record["seed"]) if isinstance(record["seed"], list) else 1


def _by_data(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["data"]):
        found.setdefault(record["data"], []).append(record)
    return found


def _by_budget(records: Iterable[Record]) -> dict[tuple[Model, float], Found]:
    """Return the figures of each model and budget of a set: of all folds where they are there, of the most
    seeds."""
    found: dict[tuple[Model, float], Found] = {}
    for record in records:
        mine = found.setdefault(((record["model"], record["preset"]), record["budget_minutes"]), {})
        known = mine.get(record["metric"])
        if known is None or _worth(record) > _worth(known):
            mine[record["metric"]] = record
    return {key: mine for key, mine in found.items() if "mean_dice" in mine}


def _worth(record: Record) -> tuple[bool, int]:
    return _CROSSED in record["split"], seed_count(record)


def _shown(data: str, records: Sequence[Record]) -> dict[tuple[Model, float], Found]:
    """Return the rows of a set, in their order: of its budget, of models without those of the nearest one."""
    by_budget = _by_budget(records)
    seeds = [
        ((record["model"], record["preset"]), record["budget_minutes"], record["seed"])
        for record in records
        if record["metric"] == "mean_dice" and not isinstance(record["seed"], list)
    ]
    budget = main_budget(data, seeds)
    shown: dict[tuple[Model, float], Found] = {}
    for model in (*MODELS, NNUNET):
        trained = sorted(minutes for one, minutes in by_budget if one == model)
        if model != NNUNET and trained:
            trained = [min(trained, key=lambda one: abs(math.log(one / (budget or trained[0]))))]
        shown |= {(model, minutes): by_budget[model, minutes] for minutes in trained}
    return shown


def _difference(records: Sequence[Record], model: Model, minutes: float) -> str:
    """Return ours minus a model, and after which time of ours where it is a shorter one."""
    metric = DIFFERENCE + name_of(*model).replace(" ", "_")
    found = [
        record
        for record in records
        if record["metric"].partition(AFTER)[0] == metric and record["budget_minutes"] == minutes
    ]
    if not found:
        return "-"
    _, _, time = found[0]["metric"].partition(AFTER)
    return spread(found[0], 4, "+") + (f", after {time.replace('_', ' ')}" if time else "")


def _curve(by_budget: dict[tuple[Model, float], Found], model: Model) -> str:
    budgets = sorted(minutes for one, minutes in by_budget if one == model)
    found = [(minutes, by_budget[model, minutes]) for minutes in budgets]
    return ", ".join(f"{minutes:g}: {one['mean_dice']['value']:.3f}" for minutes, one in found)


def _mean(
    records: Sequence[Record],
    data: str,
    minutes: float,
    model: Model,
    metric: str,
    digits: int,
    scale: float,
) -> str:
    """Return the mean of a figure of calibration over the trainings that have it; a dash where none has."""
    mine = [
        record
        for record in records
        if (record["benchmark"], record["data"], record["metric"]) == ("calibration", data, metric)
        and (record["model"], record["preset"]) == model
    ]
    nearest = min((one["budget_minutes"] for one in mine), key=lambda one: abs(one - minutes), default=None)
    values = [one["value"] for one in mine if one["budget_minutes"] == nearest]
    return f"{scale * mean(values):.{digits}f}" if values else "-"
