"""summary.json and the tables follow from the results alone, whatever results there are."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from result_files import BENCHMARKS, NAMES, PROSE, RELIABILITY, make, one, records, write

from ldseg.metrics.intervals import paired_difference


@pytest.fixture
def front(tmp_path: Path) -> Path:
    """The front page, above a folder of benchmarks without results."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "README.md").write_text(PROSE)
    page = tmp_path / "README.md"
    page.write_text("<!-- overview:begin --><!-- overview:end -->\nend")
    return page


def test_no_results_give_an_empty_list_and_say_so(summary: ModuleType, folder: Path) -> None:
    (folder / "results").rmdir()
    make(summary, folder)
    assert records(folder) == []
    readme = (folder / "README.md").read_text()
    assert readme.count("No results yet.") == 8
    assert "Words between." in readme
    assert readme.startswith("Words above.")
    assert readme.endswith("Words below.\n")


def test_twice_gives_the_same_bytes(summary: ModuleType, folder: Path) -> None:
    for seed in (0, 1):
        write(folder, seed=seed)
        write(folder, "unet", seed=seed)
    make(summary, folder)
    first = [(folder / name).read_bytes() for name in ("summary.json", "README.md")]
    make(summary, folder)
    assert [(folder / name).read_bytes() for name in ("summary.json", "README.md")] == first


def test_every_record_has_the_promised_fields(summary: ModuleType, folder: Path) -> None:
    write(folder)
    write(folder, "unet")
    make(summary, folder)
    for record in records(folder):
        assert set(record) == set(summary.KEYS)
        assert isinstance(record["value"], (int, float))
        assert record["metric"] == record["metric"].lower()


def test_a_model_is_judged_as_it_predicts_by_default_and_tabled_at_all_steps(
    summary: ModuleType, folder: Path
) -> None:
    result = write(folder)
    make(summary, folder)
    for metric, scores in (("mean_dice", result["own"]), ("mean_dice_at_5_steps", result["steps"]["5"])):
        wanted = np.mean([c[k]["dice"] for c in scores["cases"].values() for k in c])
        found = one(folder, metric)
        assert found["value"] == pytest.approx(wanted, abs=1e-6)
        assert found["low"] < found["value"] < found["high"]
        assert found["cases"] == 6
    readme = (folder / "README.md").read_text()
    assert "| 1 steps | 2 steps | 5 steps | 15 steps | 50 steps |" in readme


def test_single_figures_are_records_too(summary: ModuleType, folder: Path) -> None:
    write(folder)
    write(folder, "unet")
    make(summary, folder)
    assert one(folder, "ceiling_dice")["value"] == 0.95
    assert one(folder, "empty_mask_foreground")["value"] == 0
    assert one(folder, "lone_6_voxel_object_dice")["value"] == 0.7
    assert one(folder, "peak_rss_gb", model="unet")["value"] == 2.5
    assert one(folder, "predict_cpu_s", model="unet")["value"] == 0.5


def test_ours_is_compared_case_by_case_where_set_seed_and_budget_agree(
    summary: ModuleType, folder: Path
) -> None:
    ours, unet = write(folder, dice=0.85), write(folder, "unet", dice=0.8)
    write(folder, "unet", seed=1)
    write(folder, preset="paper", budget_minutes=4.0)
    make(summary, folder)

    def column(result: dict[str, Any]) -> list[float]:
        cases = result["own"]["cases"]
        return [float(np.mean([k["dice"] for k in cases[name].values()])) for name in NAMES]

    wanted = paired_difference(column(unet), column(ours))
    found = one(folder, "mean_dice_difference_to_unet")
    assert (found["model"], found["preset"], found["seed"]) == ("ldseg", "default", 0)
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (wanted.mean, *(wanted.interval or ())), abs=1e-6
    )
    assert one(folder, "mean_hd95_mm_difference_to_unet")["value"] == 0
    assert not [r for r in records(folder) if r["metric"].endswith("_to_ldseg_paper")]
    lines = (folder / "README.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| hippocampus | unet |"))
    assert row.split(" | ")[6].startswith("+0.0")


def test_a_model_that_trained_longer_is_compared_with_our_longest_shorter_training(
    summary: ModuleType, folder: Path
) -> None:
    for minutes, dice in ((20.0, 0.7), (30.0, 0.8), (90.0, 0.9)):
        write(folder, budget_minutes=minutes, dice=dice)
    write(folder, "nnunet", budget_minutes=75.0, dice=0.75)
    make(summary, folder)
    found = one(folder, "mean_dice_difference_to_nnunet_after_30_minutes")
    assert found["budget_minutes"] == 75
    assert found["value"] == pytest.approx(0.05, abs=1e-6)
    readme = (folder / "README.md").read_text()
    row = next(line for line in readme.splitlines() if line.startswith("| hippocampus | nnunet | 75 | 1 |"))
    assert row.split(" | ")[6].endswith(", after 30 minutes")


def test_the_front_page_shows_sets_that_have_the_model_and_its_control(
    summary: ModuleType, front: Path
) -> None:
    folder = front.parent / "benchmarks"
    write(folder, dice=0.8)
    write(folder, "unet", dice=0.7)
    write(folder, data="usgra", dice=0.6)
    make(summary, folder)
    page = front.read_text()
    row = next(line for line in page.splitlines() if line.startswith("| hippocampus |"))
    assert row.startswith("| hippocampus | 30 | 1 | 0.80")
    assert "| 0.70" in row
    assert "usgra" not in page
    assert page.endswith("\nend")


def test_the_front_page_compares_samples_with_level_sets_where_there_are_raters(
    summary: ModuleType, front: Path
) -> None:
    folder = front.parent / "benchmarks"
    keys = {"benchmark": "raters", "data": "bubil", "preset": "default", "budget_minutes": 5}
    keys |= {"command": "raters.py", "commit": "abc"}
    ged = {"ldseg": "ged2_of_16_samples", "unet": "ged2_of_16_levels_of_the_deterministic"}
    records = [
        {**keys, "split": f"fold{seed}", "seed": seed, "model": model, "metric": metric, "value": value}
        for seed in (0, 1)
        for number, model in enumerate(ged)
        for metric, value in (
            (ged[model], 0.1 + seed / 10 + number / 100),
            ("rater_dice_of_16_levels_of_the_deterministic", 0.8 - seed / 10 - number / 100),
        )
    ]
    alone = {**records[0], "split": "fold2", "seed": 2, "value": 0.9}  # the control was not trained there
    longer = {**records[0], "budget_minutes": 50, "value": 0.9}  # nor for so long
    (folder / "results" / "raters-bubil.json").write_text(json.dumps({"records": [*records, alone, longer]}))
    make(summary, folder)
    row = next(line for line in front.read_text().splitlines() if line.startswith("| bubil |"))
    assert row == "| bubil | 5 | 2 | 0.750 | 0.740 | - | - | - | - | - | 0.150 | 0.160 |"


def test_seeds_are_taken_together_case_by_case(summary: ModuleType, folder: Path) -> None:
    results = [write(folder, seed=seed, dice=0.7 + seed / 10) for seed in (0, 1, 2)]
    make(summary, folder)
    found = one(folder, "mean_dice", seed=[0, 1, 2])
    single = [one(folder, "mean_dice", seed=seed)["value"] for seed in (0, 1, 2)]
    assert found["value"] == pytest.approx(np.mean(single), abs=1e-5)
    assert found["cases"] == 6
    assert all(result["command"] in found["command"] for result in results)
    assert "| ldseg default | 30 | 3 |" in (folder / "README.md").read_text()


def test_intervals_are_by_subject_where_the_set_has_several_images_of_one(
    summary: ModuleType, folder: Path
) -> None:
    names = [f"00{subject}_{n}HC" for subject in (1, 2) for n in range(3)]
    write(folder, data="hc18", names=names)
    write(folder, names=names)
    make(summary, folder)
    by_subject, by_case = one(folder, "mean_dice", data="hc18"), one(folder, "mean_dice", data="hippocampus")
    assert by_subject["value"] == by_case["value"]
    assert (by_subject["low"], by_subject["high"]) != (by_case["low"], by_case["high"])


def test_runs_on_other_test_cases_are_not_compared(summary: ModuleType, folder: Path) -> None:
    write(folder)
    write(folder, "unet", names=["other", *NAMES[1:]])
    with pytest.raises(ValueError, match="different test cases"):
        make(summary, folder)


def test_other_benchmarks_add_their_records(
    summary: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = {key: value for key, value in write(folder).items() if key in summary.KEYS}
    speed = {"records": [{**header, "benchmark": "speed", "metric": "predict_2d_512_cpu_s", "value": 0.7}]}
    calibration = {
        **header,
        "benchmark": "calibration",
        "plain": {"figures": {"ece": 0.04}, "near": None, "everywhere": RELIABILITY},
        "calibrated": {"figures": {"ece": 0.01}},
    }
    for name, content in (("speed", speed), ("calibration", calibration), ("strange", {"benchmark": "x"})):
        (folder / "results" / f"{name}.json").write_text(json.dumps(content))
    make(summary, folder)
    assert one(folder, "predict_2d_512_cpu_s")["low"] is None
    assert (one(folder, "ece")["value"], one(folder, "ece_calibrated")["value"]) == (0.04, 0.01)
    assert "strange:" in capsys.readouterr().err
    picture = "plots/calibration-hippocampus.png"
    assert f"({picture})" in (folder / "README.md").read_text()
    assert (folder / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["no markers", PROSE + PROSE])
def test_a_readme_without_its_markers_is_refused(summary: ModuleType, folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(ValueError, match="once each"):
        make(summary, folder)


def test_distances_of_a_set_without_spacing_are_in_pixels_whatever_early_results_call_them(
    summary: ModuleType, folder: Path
) -> None:
    write(folder, data="dsb2018")
    late = write(folder, "unet", data="dsb2018")
    path = next((folder / "results").glob("dsb2018-unet*"))
    path.write_text(json.dumps(late).replace("hd95_mm", "hd95_px").replace("assd_mm", "assd_px"))
    make(summary, folder)
    assert {r["model"] for r in records(folder) if r["metric"] == "mean_hd95_px"} == {"ldseg", "unet"}
    assert one(folder, "mean_hd95_px_difference_to_unet")["value"] == 0
    assert not [r for r in records(folder) if r["metric"].endswith("_mm")]
    assert "| 2.00 px |" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "benchmarks/README.md",
        "benchmarks/costs.md",
        "benchmarks/variants.md",
        "docs/training.md",
    ],
)
def test_the_tables_of_the_pages_are_those_of_the_results(summary: ModuleType, page: str) -> None:
    folder = BENCHMARKS
    texts = summary.written(folder, summary.read_records(summary.read_results(folder / "results")))
    found = {path.resolve(): text for path, text in texts.items()}
    path = (folder.parent / page).resolve()
    assert path.read_text(encoding="utf-8") == found[path]


def test_results_and_their_summary_stay_small() -> None:
    stored = [path for path in (BENCHMARKS / "results").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in stored) < 3e6
    assert (BENCHMARKS / "summary.json").stat().st_size < 300e3
