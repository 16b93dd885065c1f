"""Tables of each benchmark, from results as it writes them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from result_files import KEYS, NAMES, RELIABILITY, make, one, write, write_records

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


def table_rows(folder: Path, begin: str, page: str = "README.md") -> list[list[str]]:
    """The cells of the rows of all tables of a page that begin so."""
    lines = (folder / page).read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {begin}")]


def header(summary: ModuleType, **known: Any) -> dict[str, Any]:
    return dict.fromkeys(summary.KEYS) | {"data": "usgra", "seed": 0, "commit": "abc1234"} | known


def test_what_corruptions_cost_is_tabled_with_images_as_they_are_and_harmonized(
    summary: ModuleType, folder: Path
) -> None:
    for data, ours, theirs in (("hippocampus", 0.1, 0.3), ("usgra", 0.2, 0.2)):
        for harmonize, factor in ((True, 0.5), (False, 1)):
            write_robustness(folder, "ldseg", ours * factor, data, harmonize)
            write_robustness(folder, "unet", theirs * factor, data, harmonize)
    make(summary, folder)
    for metric, value in (("dice_lost_blur", 0.05), ("dice_lost_mean_as_they_are", 0.1)):
        found = one(folder, metric, data="hippocampus", model="ldseg")
        assert (found["value"], found["low"], found["cases"]) == (value, value, 6)
    everywhere = len(CORRUPTIONS) + 1
    row = ["hippocampus", "unet", "30", *["0.300, 0.150"] * everywhere, "abc1234"]
    assert row in table_rows(folder, "hippocampus | unet")
    assert (folder / "plots/robustness-usgra.png").is_file()


def test_confidence_is_tabled_as_it_is_and_calibrated_over_seeds(summary: ModuleType, folder: Path) -> None:
    for seed, ece in ((0, 0.04), (1, 0.02)):
        result = {
            **header(summary, benchmark="calibration", model="unet", preset="default", budget_minutes=20),
            "seed": seed,
            "plain": {"figures": {"ece": ece, "aurc": 0.001}, "near": None, "everywhere": RELIABILITY},
            "calibrated": {"figures": {"ece": ece / 2}},
        }
        (folder / "results" / f"calibration{seed}.json").write_text(json.dumps(result))
    make(summary, folder)
    (row,) = table_rows(folder, "usgra | unet")
    assert row[2:6] == ["20", "2", "0.0300", "0.0150"]
    assert "1.00" in row


def test_what_was_done_to_break_it_is_added_up(summary: ModuleType, folder: Path) -> None:
    figures = {"faults": 0, "kills_training_kills": 50, "full_disks_times": 60, "full_disks_refused": 60}
    for kind in ("png", "nifti_gz"):
        figures |= {f"{kind}_tried": 200, f"{kind}_refused": 150, f"{kind}_accepted": 50}
        figures |= {f"{kind}_faults": 0, f"{kind}_cpu_s": 1.25, f"{kind}_peak_gb": 0.5}
    common = header(summary, benchmark="torture", split="bounds: 3 GB")
    write_records(folder, "torture", [{**common, "metric": m, "value": v} for m, v in figures.items()])
    make(summary, folder)
    page = (folder / "costs.md").read_text()
    assert "| bounds: 3 GB; commit abc1234, seed 0 | number |" in page
    for row in ("inputs of 2 kinds | 400", "of these refused in one line | 300", "faults in all | 0"):
        assert f"| {row} |" in page


def test_memory_against_size_is_a_row_a_line_and_a_plot(summary: ModuleType, folder: Path) -> None:
    common = dict.fromkeys(KEYS, "x") | {"benchmark": "memory", "cases": 1}
    figures = {
        f"volume_{size}x100x100_{metric}": value
        for size, cpu_s in ((100, 1.0), (200, 2.0), (300, 3.0))
        for metric, value in (("cpu_s", cpu_s), ("peak_rss_gb", 0.5))
    }
    result = {**common, "records": [{**common, "metric": m, "value": v} for m, v in figures.items()]}
    (folder / "results" / "memory-volumes.json").write_text(json.dumps(result))
    make(summary, folder)
    page = (folder / "costs.md").read_text()
    assert "| volume: 100x100x100, 200x100x100, 300x100x100 | 0.50, 0.50, 0.50 | 1, 2, 3 |" in page
    assert "against the size of a volume 1.0000" in page
    assert (folder / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_folds_of_a_cross_validation_are_one_row_of_all_cases(summary: ModuleType, folder: Path) -> None:
    for fold in range(4):
        for model, dice in (("ldseg", 0.9), ("unet", 0.7)):
            names = [f"p{fold}_slice{n}" for n in range(2)]
            write(folder, model, data="sunnybrook", fold=fold, names=names, dice=dice)
    make(summary, folder)
    found = one(folder, "mean_dice", model="unet")
    assert (found["cases"], found["split"]) == (8, "4 folds by subject, each left out in turn, 8 cases")
    assert one(folder, "mean_dice_difference_to_unet")["value"] == pytest.approx(0.2, abs=1e-6)
    assert table_rows(folder, "sunnybrook | unet")[0][2:4] == ["30", "1"]


def test_a_cross_validation_with_a_fold_missing_is_no_row(summary: ModuleType, folder: Path) -> None:
    for fold in range(4):
        write(folder, data="sunnybrook", fold=fold, names=[f"p{fold}_slice1"])
    for fold in range(3):
        write(folder, "unet", data="sunnybrook", fold=fold, names=[f"p{fold}_slice1"])
    make(summary, folder)
    assert table_rows(folder, "sunnybrook | ldseg default")
    assert not table_rows(folder, "sunnybrook | unet")


def test_until_the_plan_is_done_the_budget_that_most_trainings_share_is_shown(
    summary: ModuleType, folder: Path
) -> None:
    for minutes, seeds in ((16.0, (0,)), (48.0, (0, 1))):
        for model in ("ldseg", "unet"):
            for seed in seeds:
                write(folder, model, data="usgra", seed=seed, budget_minutes=minutes)
    write(folder, "pixel_diffusion", data="usgra", budget_minutes=24.0)
    make(summary, folder)
    assert {row[1]: row[2] for row in table_rows(folder, "usgra | ") if row[2].isdigit()} == {
        "ldseg default": "48",
        "unet": "48",
        "pixel_diffusion": "24",
    }
    for model in ("ldseg", "unet"):
        write(folder, model, data="usgra", budget_minutes=20.0)
    make(summary, folder)
    assert table_rows(folder, "usgra | unet")[0][2] == "20"


def test_dice_is_drawn_against_minutes_where_nnunet_was_trained_too(
    summary: ModuleType, folder: Path
) -> None:
    for minutes in (10.0, 20.0):
        write(folder, budget_minutes=minutes)
        write(folder, "nnunet", budget_minutes=minutes)
        write(folder, "ldseg", "paper", budget_minutes=minutes)
        write(folder, data="usgra", budget_minutes=minutes)
    curves = summary.dice_by_minutes(summary.read_records(summary.read_results(folder / "results")))
    assert list(curves) == ["hippocampus"]
    found = {
        name: [one["budget_minutes"] for one in records] for name, records in curves["hippocampus"].items()
    }
    assert found == {"ldseg default": [10, 20], "nnunet": [10, 20]}
    make(summary, folder)
    assert "(plots/minutes-hippocampus.png)" in (folder / "README.md").read_text()
    assert (folder / "plots/minutes-hippocampus.png").read_bytes().startswith(b"\x89PNG")


def test_budgets_are_tabled_where_several_were_tried(summary: ModuleType, tmp_path: Path) -> None:
    folder, page = tmp_path / "benchmarks", tmp_path / "docs" / "training.md"
    (folder / "results").mkdir(parents=True)
    page.parent.mkdir()
    page.write_text("<!-- budgets:begin --><!-- budgets:end -->")
    for minutes in (20.0, 40.0):
        write(folder, data="hippocampus", budget_minutes=minutes)
    write(folder, data="usgra")
    known = {"benchmark": "fine_tune", "data": "hippocampus", "split": "seed 0, 12 subjects to train"}
    few = header(summary, **known, preset="default", metric="mean_dice", value=0.8)
    for minutes in (2.0, 5.0):
        for model in ("ldseg", "ldseg from nuclei, new plan"):
            record = {**few, "model": model, "budget_minutes": minutes}
            write_records(folder, f"fine_tune-{len(model)}-{minutes:g}", [record])
    summary.main(["--folder", str(folder)])
    fewer, row = table_rows(folder, "hippocampus", "../docs/training.md")
    assert fewer[1:3] == ["12", "2: 0.800, 5: 0.800"]
    assert row[1] == "160"
    assert [pair.split(": ")[0] for pair in row[2].split(", ")] == ["20", "40"]
    assert not table_rows(folder, "usgra", "../docs/training.md")


def test_samples_and_level_sets_are_rows_weighted_by_their_cases(summary: ModuleType, folder: Path) -> None:
    common = header(
        summary, benchmark="raters", data="bubil", model="ssn", preset="default", budget_minutes=20
    )
    made = [
        {**common, "metric": "ged2_of_16_samples", "value": value, "cases": cases}
        for value, cases in ((0.1, 30), (0.4, 10))
    ]
    levels = {**common, "metric": "ged2_of_16_levels_of_the_deterministic", "value": 0.3, "cases": 30}
    write_records(folder, "raters", [*made, levels, {**levels, "model": "unet"}])
    make(summary, folder)
    (row,) = table_rows(folder, "bubil | ssn")  # level sets are those of the mean where there are samples
    assert row[:6] == ["bubil", "ssn", "20", "16 samples", "2", "0.175"]
    assert table_rows(folder, "bubil | unet")[0][3] == "16 levels of the deterministic"


def test_the_folds_of_raters_are_one_figure_of_the_summary_and_trainings_of_the_table(
    summary: ModuleType, folder: Path
) -> None:
    known = {
        "benchmark": "raters",
        "data": "bubil",
        "model": "ssn",
        "preset": "default",
        "budget_minutes": 20,
    }
    metric = {"metric": "ged2_of_16_samples"}
    for fold, (value, cases) in enumerate(((0.1, 30), (0.4, 10))):
        common = {**header(summary, **known), "split": f"fold {fold}", "command": f"raters.py --fold {fold}"}
        write_records(folder, f"raters-{fold}", [{**common, **metric, "value": value, "cases": cases}])
    make(summary, folder)
    found = one(folder, "ged2_of_16_samples", model="ssn")
    assert (found["value"], found["cases"], found["split"]) == (0.175, 40, "2 folds, by subject")
    assert table_rows(folder, "bubil | ssn")[0][4:6] == ["2", "0.175"]


def test_variants_of_the_paper_are_rows_with_steps_and_noise(summary: ModuleType, folder: Path) -> None:
    common = header(summary, benchmark="paper_curves", data="hc18", model="paper", budget_minutes=60)
    common["command"] = "python benchmarks/paper_curves.py --side 96"
    figures = {"validation_dice_steps_15": 0.9, "validation_dice_noise_0.1": 0.8, "training_steps": 100}
    made = [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
    result = {**common, "device": "cpu", "curve": [{"step": 100, "dice": 0.9}], "records": made}
    (folder / "results" / "paper_curves.json").write_text(json.dumps(result))
    on_a_card = {**result, "device": "cuda", "records": []}
    (folder / "results" / "paper_curves-cuda.json").write_text(json.dumps(on_a_card))
    make(summary, folder)
    for plot in ("paper-hc18", "paper-hc18-cuda"):
        assert (folder / f"plots/{plot}.png").read_bytes().startswith(b"\x89PNG")
    titles, row = (table_rows(folder, one, "variants.md")[0] for one in ("set | side", "hc18 | 96 | paper"))
    assert titles[3:] == ["trainings", "training steps", "steps 15", "noise 0.1", "commit"]
    assert row[3:] == ["1", "100", "0.900", "0.800", "abc1234"]


def test_changes_of_the_published_recipe_are_compared_with_it_by_seed_the_worst_first(
    summary: ModuleType, folder: Path
) -> None:
    dice = {("as_published", 0): 0.85, ("as_published", 1): 0.83, ("eight_groups", 0): 0.86}
    dice |= {("no_norm", 0): 0.7, ("no_norm", 1): 0.6}
    known = {"benchmark": "paper_ablation", "data": "hc18", "budget_minutes": None}
    for (model, seed), value in dice.items():
        common = header(summary, model=model, seed=seed, **known)
        figures = {"validation_dice_steps_15": value, "training_steps": 100}
        made = [{**common, "metric": metric, "value": one} for metric, one in figures.items()]
        write_records(folder, f"paper-ablation-{model}-{seed}", made)
    make(summary, folder)
    rows = table_rows(folder, "hc18 | ", "variants.md")
    assert [row[1:3] for row in rows] == [["no norm", "2"], ["as published", "2"], ["eight groups", "1"]]
    assert [row[6] for row in rows] == ["-0.190", "0.000", "0.010"]


def test_a_change_on_a_card_is_compared_with_the_published_recipe_there(
    summary: ModuleType, folder: Path
) -> None:
    dice = {("as_published", ""): 0.85, ("as_published", " --device cuda"): 0.8}
    dice |= {("eight_groups", " --device cuda"): 0.83}
    known = {"benchmark": "paper_ablation", "data": "hc18", "budget_minutes": None, "seed": 0}
    for (model, device), value in dice.items():
        common = header(summary, model=model, command=f"python benchmarks/paper_ablation.py{device}", **known)
        made = [{**common, "metric": "validation_dice_steps_15", "value": value}]
        write_records(folder, f"paper-ablation-{model}{device[-4:]}", made)
    make(summary, folder)
    rows = table_rows(folder, "hc18 | ", "variants.md")
    assert [row[1:3] for row in rows] == [["as published", "2"], ["eight groups", "1"]]
    assert [row[6] for row in rows] == ["0.000", "0.030"]


def test_what_was_tried_is_a_row_a_change_with_a_column_a_set(summary: ModuleType, folder: Path) -> None:
    common = header(summary, benchmark="tried", model="wider")
    gain = {"metric": "dice_difference_kept", "value": 0.01, "low": 0.0, "high": 0.02}
    loss = {"metric": "dice_difference_kept", "value": -0.01}
    write_records(folder, "tried", [{**common, **gain}, {**common, "data": "hc18", **loss}])
    make(summary, folder)
    assert table_rows(folder, "change", "variants.md")[0] == ["change", "usgra", "hc18", "kept", "commit"]
    row = ["wider", "+0.0100 [+0.0000, +0.0200]", "-0.0100", "yes", "abc1234"]
    assert table_rows(folder, "wider", "variants.md")[0] == row


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
    readme = (folder / "variants.md").read_text()
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
    readme = (folder / "variants.md").read_text()
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


def test_samples_in_another_number_of_steps_have_rows_of_their_own(summary: ModuleType, folder: Path) -> None:
    for size, steps in (("2d", 4), ("3d", 8)):
        common = header(summary, benchmark="speed", split=size)
        figures = {
            f"predict_cpu_s_{steps}_steps_8_samples": 0.2,
            f"ratio_{steps}_steps_8_samples_to_1_step_and_7_decodes": 1.5,
        }
        made = [{**common, "metric": metric, "value": value} for metric, value in figures.items()]
        write_records(folder, f"speed-{size}", made)
    make(summary, folder)
    assert table_rows(folder, "predict, 8 samples of", "costs.md") == [
        ["predict, 8 samples of 4 steps, CPU s", "0.200", "-"],
        ["predict, 8 samples of 8 steps, CPU s", "-", "0.200"],
    ]
    assert table_rows(folder, "8 samples of", "costs.md") == [
        ["8 samples of 4 steps to one step and 7 decodes", "1.50", "-"],
        ["8 samples of 8 steps to one step and 7 decodes", "-", "1.50"],
    ]


def test_ways_to_draw_samples_are_rows_a_set(summary: ModuleType, folder: Path) -> None:
    common = header(summary, benchmark="sampling", data="bubil", budget_minutes=5, cases=16)
    figures = {"ged2_of_4_steps": 0.0928, "covered_of_4_steps": 0.9}
    figures |= {"ged2_of_4_steps,_levels_of_the_mean": 0.0976}
    write_records(folder, "sampling", [{**common, "metric": m, "value": v} for m, v in figures.items()])
    make(summary, folder)
    assert [row[2:] for row in table_rows(folder, "bubil", "variants.md")] == [
        ["4 steps", "1", "0.0928", "-", "-", "0.90", "abc1234"],
        ["4 steps, levels of the mean", "1", "0.0976", "-", "-", "-", "abc1234"],
    ]
