"""The scripts that compare with the paper, on data made here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from result_files import Script

from ldseg.planning.plan import ChannelPlan, Plan


@pytest.fixture
def jobs(script: Script) -> ModuleType:
    return script("paper_jobs")


def write_glas(folder: Path) -> Path:
    """Write an imitation of GlaS: color images, masks that number the glands, and the table beside them."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [*(f"train_{n}" for n in range(1, 7)), "testA_1", "testA_2", "testB_1"]
    for name in names:
        mask = np.zeros((52, 77), np.uint8)
        mask[8:30, 10:34], mask[20:44, 44:70] = 1, 2
        stain = (60 + 120 * (mask > 0)[..., None] + rng.integers(0, 40, (52, 77, 3))).astype(np.uint8)
        Image.fromarray(stain).save(folder / f"{name}.bmp")
        Image.fromarray(mask).save(folder / f"{name}_anno.bmp")
    (folder / "Grade.csv").write_text("name, patient ID\n")
    return folder


def test_glands_are_trained_and_scored_from_the_folder_as_it_is_downloaded(
    jobs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del jobs
    glas, out = importlib.import_module("glas"), tmp_path / "out.jsonl"
    words = ["--data", write_glas(tmp_path / "glas"), "--work", tmp_path / "work", "--out", out]
    monkeypatch.setattr(
        sys, "argv", ["glas.py", *map(str, words), "--steps", "2", "--side", "32", "--variant", "paper"]
    )
    glas.main()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    trained, test = (next(one for one in lines if one["part"] == part) for part in ("trained", "test"))
    assert (trained["steps"], trained["patch"], trained["training_cases"]) == (2, [32, 32], 4)
    assert set(test["cases"]) == {"testA_1", "testA_2", "testB_1"}
    assert test["testB"] == test["cases"]["testB_1"]
    assert all(0 <= value <= 1 for value in test["cases"].values())


@pytest.mark.parametrize("scheme", ["unit", "zscore"])
def test_noise_is_added_on_the_unit_range_and_the_scale_is_the_plans_again(
    jobs: ModuleType, a_plan: Plan, scheme: str
) -> None:
    plan = Plan(**{**vars(a_plan), "channels": (ChannelPlan("a", scheme),)})  # type: ignore[arg-type]
    x = torch.linspace(0, 1, 4096).reshape(1, 64, 64)
    x = x if scheme == "unit" else (x - x.mean()) / x.std()
    torch.testing.assert_close(jobs.with_noise(x, 0.0, plan, 0), x)
    noisy = jobs.with_noise(x, 0.2, plan, 0)
    assert torch.equal(noisy, jobs.with_noise(x, 0.2, plan, 0))
    assert (noisy - x).abs().max() > 0.1
    if scheme == "unit":
        assert (noisy.min(), noisy.max()) == (0, 1)
    else:
        torch.testing.assert_close(torch.stack([noisy.mean(), noisy.std()]), torch.tensor([0.0, 1.0]))


def test_each_variant_and_change_gives_settings(jobs: ModuleType, a_plan: Plan) -> None:
    ablation = importlib.import_module("paper_ablation")
    limits = jobs.Limits(minutes=1.0)
    for name, variant in jobs.VARIANTS.items():
        settings = jobs.settings_for(jobs.Job("hc18", name, variant), a_plan, limits)
        assert (settings.preset, settings.baseline) == (variant.preset, variant.baseline)
    published = jobs.settings_for(jobs.Job("hc18", "paper", jobs.VARIANTS["paper"]), a_plan, limits)
    for name, change in ablation.CHANGES.items():
        job = ablation.find_job(f"hc18:{name}:3")
        settings = jobs.settings_for(job, a_plan, limits)
        assert (settings.training.seed, job.change) == (3, change.replace)
        same = settings == jobs.replace(published, training=jobs.replace(published.training, seed=3))
        assert same == (not change.settings), name


def test_a_change_of_sampling_alone_scores_the_training_of_the_published_recipe(script: Script) -> None:
    ablation = script("paper_ablation")
    folders = {name: ablation.find_job(f"hc18:{name}:1").folder for name in ablation.CHANGES}
    assert folders["nothing_normalized"] == folders["as_published"] == "hc18-as_published-seed1"
    assert folders["eight_groups"] == "hc18-eight_groups-seed1"


def test_a_training_that_is_interrupted_ends_the_program_before_it_is_scored(
    jobs: ModuleType, a_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "plan_for", lambda *_: a_plan)
    monkeypatch.setattr(jobs, "train", lambda *_: SimpleNamespace(steps=1, interrupted=True))
    job = jobs.Job("hc18", "paper", jobs.VARIANTS["paper"])
    with pytest.raises(SystemExit):
        jobs.train_job(job, None, None, tmp_path, jobs.Limits(minutes=1.0), "cpu", print)


def test_a_training_that_was_cut_off_has_a_record_of_its_curve_and_no_scores(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, curves = script("paper_runs"), importlib.import_module("paper_curves")
    about = {"data": "hc18", "variant": "paper", "preset": "paper", "seed": 0, "split": "fold 0", "cases": 2}
    about |= {"budget_minutes": 5.0, "device": "cuda"}
    point = {"step": 100, "seconds": 9.0, "dice": 0.8, "ceiling": 0.9}
    lines = [
        {"part": "curve", "name": "hc18-paper-seed0", **about, **point},
        {"part": "trained", "name": "hc18-paper-seed0", "ok": False, "error": "RuntimeError"},
        {"part": "scored", "name": "hc18-paper-seed0", **about, "dice_by_steps": [], "dice_by_noise": []},
    ]
    out, written = tmp_path / "out.jsonl", {}
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(runs, "write_result", lambda name, result: written.update({name: result}))
    words = ["--data-root", ".", "--work", ".", "--out", str(out), "--device", "cuda", "--commit", "abc1234"]
    arguments = runs.run_parser(None, []).parse_args([*words, "--records"])
    runs.run(arguments, "paper_curves", curves.find_job)
    (record,) = written.values()
    assert list(written) == ["paper-curves-hc18-paper-seed0-cuda"]
    assert (record["curve"], record["commit"], record["records"]) == ([point], "abc1234", [])
