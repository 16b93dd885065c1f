"""Tables of each benchmark, from results as it writes them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from result_files import KEYS, NAMES, make, one, write, write_records

from ldseg.evaluation.corruptions import CORRUPTIONS


def write_robustness(
    folder: Path, model: str, lost: float, data: str = "hippocampus", harmonize: bool = True
) -> None:
    """As robustness.py writes it; every corruption costs the same."""
    header = {key: value for key, value in write(folder, model, data=data).items() if key in KEYS}
    along = [0.8, 0.8, 0.8, 0.8, 0.8 - lost]
    points = [
        {
            "strength": strength,
            "mean_dice": dice,
            "mean_dice_interval": [dice - 0.1, dice + 0.1],
            "cases": {name: {"dice": dice} for name in NAMES},
        }
        for strength, dice in enumerate(along)
    ]
    subjects = {name: name for name in NAMES}
    curves = {name: {"points": points} for name in CORRUPTIONS}
    result = {**header, "benchmark": "robustness", "subjects": subjects, "curves": curves}
    result["harmonized"] = harmonize
    name = f"robustness-{data}-{model}-{harmonize}.json"
    (folder / "results" / name).write_text(json.dumps(result))


def test_what_corruptions_cost_is_tabled_beside_the_control(summary: ModuleType, folder: Path) -> None:
    for data, ours, theirs in (("hippocampus", 0.1, 0.3), ("usgra", 0.2, 0.2)):
        for harmonize, factor in ((True, 0.5), (False, 1)):
            write_robustness(folder, "ldseg", ours * factor, data, harmonize)
            write_robustness(folder, "unet", theirs * factor, data, harmonize)
    make(summary, folder)
    assert one(folder, "mean_dice_blur_4_as_they_are", data="usgra", model="unet")["value"] == 0.6
    for metric, value in (("dice_lost_blur", 0.05), ("dice_lost_mean_as_they_are", 0.1)):
        found = one(folder, metric, data="hippocampus", model="ldseg")
        assert (found["value"], found["low"], found["cases"]) == (value, value, 6)
    readme = (folder / "README.md").read_text()
    shares = "0.0500 | 0.1500 | 0.1000 | 0.3000 | 0.17 | 0.50 | 0.33 |"
    assert f"| hippocampus, 30 minutes, seed 0 | {shares}" in readme
    assert "| mean of all | 0.0750 | 0.1250 | 0.1500 | 0.2500 | 0.30 | 0.50 | 0.60 |" in readme
    assert "| unet, seed 0, images as they are | 0.200 [0.200, 0.200] |" in readme
    assert (folder / "plots/robustness-usgra-30min.png").is_file()


def test_two_models_are_compared_with_each_other_in_a_row(summary: ModuleType, folder: Path) -> None:
    header = dict.fromkeys(summary.KEYS) | {"benchmark": "agreement", "data": "usgra", "budget_minutes": 8}
    names = ("dice_ldseg", "dice_unet", "dice_together", "dice_between")
    made = [
        {**header, "commit": "abc1234", "metric": name, "value": 0.5, "low": 0.4, "high": 0.6}
        for name in names
    ]
    write_records(folder, "agreement", made)
    make(summary, folder)
    cells = " | ".join(["0.5000 [0.4000, 0.6000]"] * 4)
    assert f"| usgra, 8 minutes | {cells} | abc1234 |" in (folder / "README.md").read_text()


def test_what_was_tried_is_tabled_by_kind(summary: ModuleType, folder: Path) -> None:
    header = dict.fromkeys(summary.KEYS) | {
        "benchmark": "torture",
        "split": "bounds: 3 GB",
        "seed": 0,
        "commit": "abc1234",
    }
    figures = {"faults": 0, "kills_training_kills": 50, "full_disks_times": 60}
    for kind in ("png", "nifti_gz"):
        figures |= {f"{kind}_tried": 200, f"{kind}_refused": 150, f"{kind}_accepted": 50}
        figures |= {f"{kind}_faults": 0, f"{kind}_cpu_s": 1.25, f"{kind}_peak_gb": 0.5}
    made = [{**header, "metric": metric, "value": value} for metric, value in figures.items()]
    write_records(folder, "torture", made)
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    assert "| nifti gz | 200 | 150 | 50 | 0 | 1.25 | 0.50 |" in readme
    assert "| inputs of 2 kinds | 400 |" in readme
    assert "| kill -9 of a training, each followed by resume | 50 |" in readme
    assert "Bounds: 3 GB. Commit abc1234, seed 0." in readme


def test_memory_against_size_is_a_table_a_line_and_a_plot(summary: ModuleType, folder: Path) -> None:
    common = dict.fromkeys(KEYS, "x") | {"benchmark": "memory", "cases": 1}
    figures = {
        f"volume_{size}x100x100_{metric}": value
        for size, cpu_s in ((100, 1.0), (200, 2.0), (300, 3.0))
        for metric, value in (("cpu_s", cpu_s), ("peak_rss_gb", 0.5))
    }
    result = {**common, "records": [{**common, "metric": m, "value": v} for m, v in figures.items()]}
    (folder / "results" / "memory-volumes.json").write_text(json.dumps(result))
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    assert "| volume 200x100x100 | 0.50 | 2 |" in readme
    assert "a straight line explains 1.0000" in readme
    assert (folder / "cost.png").read_bytes().startswith(b"\x89PNG")


def write_film(folder: Path, patient: str, model: str = "ldseg", dice: float = 0.8, **more: Any) -> None:
    """A result as cine.py writes it, of one film of one structure."""
    one = {"dice": dice, "hd95_mm": 2.0, "assd_mm": 0.5, "nsd": 0.9}
    result = {
        "benchmark": "cine",
        "data": "sunnybrook",
        "split": f"1 train, 1 test, of {patient}",
        "model": model,
        "preset": "default",
        "seed": 0,
        "budget_minutes": 15,
        "command": f"python benchmarks/cine.py --patient {patient} --minutes 15",
        "commit": "abc1234",
        "training": {"steps": 10},
        "peak_rss_gb": 1.0,
        "own": {"cases": {f"{patient}_slice01": {"cavity": one}}, "cpu_s_per_case": 0.5},
        "steps": {},
        "records": [],
    }
    (folder / "results" / f"cine-{patient}-{model}.json").write_text(json.dumps({**result, **more}))


def test_films_of_all_patients_are_one_set_and_their_cores_are_counted(
    summary: ModuleType, folder: Path
) -> None:
    for patient, ours in (("A", 0.8), ("B", 0.9)):
        write_film(folder, patient, "ldseg", ours)
        write_film(folder, patient, "unet", 0.7)
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    assert "### sunnybrook, 7.5 minutes" in readme
    assert "Split: 2 patients, each left out in turn, 2 films." in readme
    assert "| unet | 1 | +0.1500 [-0.4853, +0.7853] |" in readme


def test_films_with_a_patient_missing_are_not_compared(summary: ModuleType, folder: Path) -> None:
    for patient in ("A", "B"):
        write_film(folder, patient, "ldseg")
    write_film(folder, "A", "unet")
    make(summary, folder)
    accuracy = (folder / "README.md").read_text().split("<!-- accuracy:end -->")[0]
    assert "ldseg default" in accuracy
    assert "unet" not in accuracy


def test_films_are_a_row_a_patient_left_out(summary: ModuleType, folder: Path) -> None:
    header = dict.fromkeys(summary.KEYS) | {
        "benchmark": "cine",
        "split": "28 train, 9 test, of B",
        "model": "ldseg",
        "preset": "default",
        "budget_minutes": 15,
        "commit": "abc1234",
    }
    figures = {"mean_dice": 0.9, "roughness": 0.125}
    made = [{**header, "metric": metric, "value": value} for metric, value in figures.items()]
    write_film(folder, "B", records=made)
    make(summary, folder)
    assert "| 28 train, 9 test, of B, ldseg default | 15 | 0.900 | - |" in (folder / "README.md").read_text()


def test_ways_of_answering_are_rows_with_their_difference_to_the_control(
    summary: ModuleType, folder: Path
) -> None:
    header = dict.fromkeys(summary.KEYS) | {
        "benchmark": "answers",
        "data": "usgra",
        "budget_minutes": 12,
        "commit": "abc1234",
    }
    score = {"value": 0.7, "low": 0.6, "high": 0.8}
    made = [
        {**header, "model": model, "metric": metric, **score}
        for model in ("unet", "ldseg default, mirrored too")
        for metric in ("mean_dice", "mean_hd95_mm", "predict_cpu_s")
    ]
    difference = {"metric": "mean_dice_difference", "value": -0.02, "low": -0.03, "high": 0.01}
    made.append({**header, "model": "ldseg default, mirrored too", **difference})
    write_records(folder, "answers", made)
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    hd95 = "0.70 [0.60, 0.80] | - | 0.70 | abc1234 |"
    assert f"| unet | 0.7000 [0.6000, 0.8000] | - | {hd95}" in readme
    ours = "0.7000 [0.6000, 0.8000] | -0.0200 [-0.0300, +0.0100]"
    assert f"| ldseg default, mirrored too | {ours} | {hd95}" in readme


def test_what_a_beginning_gains_is_a_row_a_budget(summary: ModuleType, folder: Path) -> None:
    header = dict.fromkeys(summary.KEYS) | {"benchmark": "fine_tune", "data": "usgra", "commit": "abc1234"}
    made = [
        {**header, "budget_minutes": minutes, "model": model, "seed": 0, "metric": metric, "value": value}
        for minutes in (10, 2)
        for model, metric, value in (
            ("ldseg", "mean_dice", 0.5),
            ("ldseg from nuclei, new plan", "mean_dice", 0.6),
            ("ldseg from nuclei, new plan", "mean_dice_gain_over_nothing", 0.1),
        )
    ]
    write_records(folder, "fine_tune", made)
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    rows = [
        "| usgra, 2 minutes | from nothing | 0.5000 | - | abc1234 |",
        "| usgra, 2 minutes | from nuclei, new plan | 0.6000 | +0.1000 | abc1234 |",
        "| usgra, 10 minutes | from nothing | 0.5000 | - | abc1234 |",
    ]
    assert "\n".join(rows) in readme


def test_an_ensemble_is_a_row_beside_one_member(summary: ModuleType, folder: Path) -> None:
    header = dict.fromkeys(summary.KEYS) | {"benchmark": "ensembles", "data": "usgra", "commit": "abc1234"}
    header |= {"budget_minutes": 4, "seed": 0}
    made = [
        {**header, "model": model, "metric": metric, "value": value}
        for model, metric, value in (
            ("ldseg, 3 members", "mean_dice", 0.7),
            ("ldseg, 3 members", "failure_auroc_by_members", 0.9),
            ("ldseg", "mean_dice", 0.6),
        )
    ]
    write_records(folder, "ensembles", made)
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    single = "| usgra, 4 minutes a member | ldseg | 0.6000 | - | - | - | - | - | - | - | - | - | abc1234 |"
    several = "| ldseg, 3 members | 0.7000 | - | - | - | - | - | - | 0.900 | - | - | abc1234 |"
    assert single in readme
    assert several in readme


@pytest.mark.usefixtures("summary")  # puts the scripts on the path
def test_low_agreement_tells_of_the_worst_cases() -> None:
    told_by = importlib.import_module("ensembles").told_by
    dice = [0.9, 0.2, 0.8, 0.85, 0.95]
    right = told_by("members", [0.9, 0.1, 0.8, 0.85, 0.95], dice)
    wrong = told_by("members", [0.1, 0.9, 0.2, 0.3, 0.0], dice)
    assert right["failure_auroc_by_members"] == 1
    assert wrong["failure_auroc_by_members"] == 0
    assert right["case_aurc_by_members"] < wrong["case_aurc_by_members"]
