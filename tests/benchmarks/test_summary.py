"""summary.json and the tables follow from the results alone, whatever results there are."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ldseg.evaluation.bootstrap import paired_difference
from ldseg.evaluation.corruptions import CORRUPTIONS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROSE = """Words above.

<!-- accuracy:begin -->
old
<!-- accuracy:end -->

Words between.

<!-- robustness:begin --><!-- robustness:end --><!-- ablation:begin --><!-- ablation:end -->
<!-- raters:begin --><!-- raters:end --><!-- cine:begin --><!-- cine:end -->
<!-- torture:begin --><!-- torture:end --><!-- speed:begin --><!-- speed:end -->
<!-- memory:begin --><!-- memory:end --><!-- zoo:begin --><!-- zoo:end -->
<!-- calibration:begin --><!-- calibration:end --><!-- answers:begin --><!-- answers:end -->

Words below.
"""
KEYS = ("data", "split", "model", "preset", "seed", "budget_minutes", "command", "commit")
RELIABILITY = {
    "bins": [{"low": 0.5, "high": 1.0, "voxels": 9, "confidence": 0.8, "accuracy": 0.7}],
    "risk": [{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.1}],
}
NAMES = [f"case{n}" for n in range(6)]


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("summary")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(PROSE)
    return tmp_path


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
        "cores": 2,
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
    name = f"{result['data']}-{model}-{preset}-seed{seed}-{result['budget_minutes']:g}min.json"
    (folder / "results" / name).write_text(json.dumps(result))
    return result


def records(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "summary.json").read_text())


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


def test_no_results_give_an_empty_list_and_say_so(summary: ModuleType, folder: Path) -> None:
    (folder / "results").rmdir()
    make(summary, folder)
    assert records(folder) == []
    readme = (folder / "README.md").read_text()
    assert readme.count("No results yet.") == 11
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
        assert tuple(record) == summary.KEYS
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
    assert "| Dice by steps | 1 | 2 | 5 | 15 | 50 |" in readme


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
    write(folder, preset="paper", budget_minutes=90.0)
    make(summary, folder)

    def column(result: dict[str, Any]) -> list[float]:
        cases = result["own"]["cases"]
        return [float(np.mean([k["dice"] for k in cases[name].values()])) for name in NAMES]

    wanted = paired_difference(column(unet), column(ours))
    found = one(folder, "mean_dice_difference_to_unet")
    assert (found["model"], found["preset"], found["seed"]) == ("ldseg", "default", 0)
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (wanted.mean, wanted.low, wanted.high), abs=1e-6
    )
    assert one(folder, "mean_hd95_mm_difference_to_unet")["value"] == 0
    assert not [r for r in records(folder) if r["metric"].endswith("_to_ldseg_paper")]
    assert "| unet | 1 | +0.0" in (folder / "README.md").read_text()


def test_the_front_page_shows_sets_that_have_the_model_and_its_control(
    summary: ModuleType, tmp_path: Path
) -> None:
    folder, front = tmp_path / "benchmarks", tmp_path / "README.md"
    (folder / "results").mkdir(parents=True)
    (folder / "README.md").write_text(PROSE)
    front.write_text("<!-- overview:begin --><!-- overview:end -->\nend")
    write(folder, dice=0.8)
    write(folder, "unet", dice=0.7)
    write(folder, data="usgra", dice=0.6)
    make(summary, folder)
    page = front.read_text()
    assert "### hippocampus, 30 minutes" in page
    assert "| ldseg default | 1 | 0.8" in page
    assert "| unet | 1 | 0.7" in page
    assert "usgra" not in page
    assert page.endswith("\nend")


def test_seeds_are_taken_together_case_by_case(summary: ModuleType, folder: Path) -> None:
    results = [write(folder, seed=seed, dice=0.7 + seed / 10) for seed in (0, 1, 2)]
    make(summary, folder)
    found = one(folder, "mean_dice", seed=[0, 1, 2])
    single = [one(folder, "mean_dice", seed=seed)["value"] for seed in (0, 1, 2)]
    assert found["value"] == pytest.approx(np.mean(single), abs=1e-5)
    assert found["cases"] == 6
    assert all(result["command"] in found["command"] for result in results)
    assert "| ldseg default | 3 |" in (folder / "README.md").read_text()


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
        "recalibrated": {"figures": {"ece": 0.01}},
    }
    for name, content in (("speed", speed), ("calibration", calibration), ("strange", {"benchmark": "x"})):
        (folder / "results" / f"{name}.json").write_text(json.dumps(content))
    make(summary, folder)
    assert one(folder, "predict_2d_512_cpu_s")["low"] is None
    assert (one(folder, "ece")["value"], one(folder, "ece_recalibrated")["value"]) == (0.04, 0.01)
    assert "strange.json" in capsys.readouterr().err
    picture = "plots/calibration-hippocampus-30min.png"
    assert f"({picture})" in (folder / "README.md").read_text()
    assert (folder / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["no markers", PROSE + PROSE])
def test_a_readme_without_its_markers_is_refused(summary: ModuleType, folder: Path, text: str) -> None:
    (folder / "README.md").write_text(text)
    with pytest.raises(ValueError, match="once each"):
        make(summary, folder)


def write_robustness(
    folder: Path, model: str, lost: float, data: str = "hippocampus", harmonise: bool = True
) -> None:
    """As robustness.py writes it; every corruption costs the same."""
    header = {key: value for key, value in write(folder, model, data=data).items() if key in KEYS}
    along = [0.8, 0.8, 0.8, 0.8, 0.8 - lost]
    curve = {
        "strengths": [0, 1, 2, 3, 4],
        "mean_dice": along,
        "mean_dice_interval": [[dice - 0.1, dice + 0.1] for dice in along],
        "cases": dict.fromkeys(NAMES, along),
    }
    subjects = {name: name for name in NAMES}
    curves = dict.fromkeys(CORRUPTIONS, curve)
    result = {**header, "benchmark": "robustness", "subjects": subjects, "curves": curves}
    result["harmonise"] = harmonise
    name = f"robustness-{data}-{model}-{harmonise}.json"
    (folder / "results" / name).write_text(json.dumps(result))


def test_what_corruptions_cost_is_tabled_beside_the_control(summary: ModuleType, folder: Path) -> None:
    for data, ours, theirs in (("hippocampus", 0.1, 0.3), ("usgra", 0.2, 0.2)):
        for harmonise, factor in ((True, 0.5), (False, 1)):
            write_robustness(folder, "ldseg", ours * factor, data, harmonise)
            write_robustness(folder, "unet", theirs * factor, data, harmonise)
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
    (folder / "results" / "torture.json").write_text(json.dumps({"benchmark": "torture", "records": made}))
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
    assert "| unet | 1 | +0.1500 [+0.1000, +0.2000] |" in readme


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
    result = {"benchmark": "answers", "records": made}
    (folder / "results" / "answers-usgra.json").write_text(json.dumps(result))
    make(summary, folder)
    readme = (folder / "README.md").read_text()
    hd95 = "0.70 [0.60, 0.80] | - | 0.70 | abc1234 |"
    assert f"| unet | 0.7000 [0.6000, 0.8000] | - | {hd95}" in readme
    ours = "0.7000 [0.6000, 0.8000] | -0.0200 [-0.0300, +0.0100]"
    assert f"| ldseg default, mirrored too | {ours} | {hd95}" in readme
