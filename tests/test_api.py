"""A run's folder before training: what is there is used, what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ldseg
from ldseg.api import make_settings, plan_run, train_run
from ldseg.data.cases import DataOptions
from ldseg.data.splits import read_splits
from ldseg.errors import InputError
from ldseg.evaluation.calibration_fit import NoStructureError
from ldseg.inference.temperature_scaling import UNCALIBRATED, stored_calibration
from ldseg.planning.plan import PlanSettings, read_plan, write_plan
from ldseg.runs.run_setup import SplitOptions, prepare_run
from ldseg.training.budget_settings import describe_budget


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten grey pictures with a square each."""
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(10):
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(4, 16, 2)
        mask[top : top + 10, left : left + 10] = 1
        Image.fromarray((100 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)).save(
            root / "images" / f"p{number}.png"
        )
        Image.fromarray(mask).save(root / "masks" / f"p{number}.png")
    return root


def test_planning_writes_files_that_training_then_uses(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan = plan_run(data, run, split=SplitOptions(test_fraction=0.2))
    assert {path.name for path in run.iterdir()} == {
        "data.json",
        "fingerprint.json",
        "plan.json",
        "splits.json",
    }
    assert len(read_splits(run / "splits.json").test) == 2
    write_plan(run / "plan.json", replace(plan, batch=3))
    prepared = prepare_run(data, run)
    assert prepared.plan.batch == 3
    assert prepared.splits == read_splits(run / "splits.json")


def test_the_test_part_does_not_shape_the_plan(data: Path, tmp_path: Path) -> None:
    plan_run(data, tmp_path / "run", split=SplitOptions(test_fraction=0.3))
    fingerprint = json.loads((tmp_path / "run" / "fingerprint.json").read_text())
    tested = set(read_splits(tmp_path / "run" / "splits.json").test)
    assert len(tested) == 3
    assert not tested & {case["name"] for case in fingerprint["cases"]}


def test_the_plan_knows_what_training_images_look_like(data: Path, tmp_path: Path) -> None:
    """All but those of the test part."""
    plan = plan_run(data, tmp_path / "a")
    assert len(plan.appearance) == len(plan.channels)
    assert read_plan(tmp_path / "a" / "plan.json") == plan
    assert plan_run(data, tmp_path / "b", split=SplitOptions(test_fraction=0.1)).appearance == ()


def test_how_data_are_read_is_kept_with_the_run(data: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", DataOptions(labels_above_zero=True)
    plan_run(data, run, options)
    assert prepare_run(data, run).dataset.labels_above_zero
    assert prepare_run(data, run, options).plan == read_plan(run / "plan.json")
    with pytest.raises(InputError, match=r"data\.json: this run reads its data in another way"):
        prepare_run(data, run, DataOptions(ignore_id=7))


def test_a_second_plan_is_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan_run(data, run)
    with pytest.raises(InputError, match=r"plan\.json: there is a plan already"):
        plan_run(data, run)
    with pytest.raises(InputError, match="remove it to plan anew with other limits"):
        prepare_run(data, run, limits=PlanSettings(batch=1))
    with pytest.raises(InputError, match="this run has its splits"):
        prepare_run(data, run, split=SplitOptions(seed=3))


def test_a_command_that_was_killed_may_be_given_again_as_it_was(data: Path, tmp_path: Path) -> None:
    run, limits, split = tmp_path / "run", PlanSettings(batch=1), SplitOptions(test_fraction=0.2, seed=5)
    plan_run(data, run, limits=limits, split=split)
    first = (run / "splits.json").read_bytes()
    (run / "data.json").unlink()
    assert prepare_run(data, run, limits=limits, split=split).plan.batch == 1
    assert (run / "splits.json").read_bytes() == first
    assert prepare_run(data, run, split=SplitOptions(file=run / "splits.json")).plan.batch == 1
    write_plan(run / "plan.json", replace(read_plan(run / "plan.json"), batch=2))
    with pytest.raises(InputError, match="remove it to plan anew with other limits"):
        prepare_run(data, run, limits=limits)


def test_a_killed_command_that_begins_with_another_model_may_be_given_again(
    data: Path, tmp_path: Path
) -> None:
    run, limits = tmp_path / "run", PlanSettings(batch=1)
    first = prepare_run(data, run, limits=limits, adopt=lambda _, plan: replace(plan, latent_channels=5))
    again = prepare_run(data, run, limits=limits, adopt=lambda _, plan: replace(plan, latent_channels=5))
    assert again.plan == first.plan
    with pytest.raises(InputError, match="remove it to plan anew with other limits"):
        prepare_run(data, run, limits=limits)


def test_splits_of_another_run_are_copied(data: Path, tmp_path: Path) -> None:
    plan_run(data, tmp_path / "a", split=SplitOptions(test_fraction=0.2, seed=5))
    file = tmp_path / "a" / "splits.json"
    plan_run(data, tmp_path / "b", split=SplitOptions(file=file))
    assert (tmp_path / "b" / "splits.json").read_text() == file.read_text()


def test_splits_or_plans_of_other_data_are_refused(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    plan = plan_run(data, run)
    write_plan(run / "plan.json", replace(plan, classes={"background": 0, "other": 4}))
    with pytest.raises(InputError, match=r"plan\.json: classes is .*'other': 4.*the data have"):
        prepare_run(data, run)
    (data / "images" / "p3.png").unlink()
    (data / "masks" / "p3.png").unlink()
    with pytest.raises(InputError, match=r"splits\.json: p3: no such case in"):
        prepare_run(data, run)


def test_settings_are_the_presets_with_changes(data: Path, tmp_path: Path) -> None:
    plan = plan_run(data, tmp_path / "run")
    changes = {
        "training": {"steps": 5},
        "model": {"noise": {"parameterization": "v_prediction"}},
        "baseline": "unet",
    }
    settings = make_settings(plan, "default", changes, Path("plan.json"))
    assert settings.model.noise.parameterization == "v_prediction"
    assert (settings.baseline, settings.training.minutes) == ("unet", None)
    assert describe_budget(settings.training) == "5 steps"
    assert describe_budget(make_settings(plan, "paper", {}, Path("plan.json")).training) == "60 minutes"


@pytest.mark.parametrize(
    "preset, changes, message",
    [
        ("best", {}, "preset is 'best'; choose one of default, paper"),
        ("default", {"training": {"steps": 5, "minutes": 1}}, "found steps, minutes; give exactly one"),
        ("default", {"training": {"steps": 0}}, "training.steps is 0; give a number above 0"),
        ("default", {"model": {"noise": {"schedule": "sine"}}}, r"model\.noise\.schedule is 'sine'"),
        ("default", {"model": {"noise": {"min_alpha_bar": 7}}}, r"noise\.min_alpha_bar is 7\.0"),
        ("default", {"model": {"latent": 7}}, r"model\.latent is not a field"),
        ("default", {"model": {"in_channels": 9}}, "the model has 9 image channels"),
        ("default", {"baseline": "voxels"}, "baseline is .voxels.; expected .none. or .unet."),
    ],
)
def test_settings_that_cannot_be_are_refused_before_training(
    data: Path, tmp_path: Path, preset: str, changes: dict[str, object], message: str
) -> None:
    plan = plan_run(data, tmp_path / "run")
    with pytest.raises(InputError, match=message):
        make_settings(plan, preset, changes, Path("plan.json"))


@pytest.mark.parametrize(
    "changed, calibrated", [({}, True), ({"calibrate": False}, False), ({"fold": "all"}, False)]
)
def test_a_training_ends_calibrated_where_cases_were_held_out(
    data: Path, tmp_path: Path, changed: dict[str, object], calibrated: bool
) -> None:
    events: list[dict[str, Any]] = []
    changes = {"training": {"steps": 1, "validations": 1, **changed}}
    train_run(data, tmp_path / "run", changes=changes, device="cpu", on_event=events.append)
    assert (stored_calibration(tmp_path / "run") != UNCALIBRATED) == calibrated
    told = {event["case"] for event in events if event["event"] == "calibrating"}
    assert told == (
        set(read_splits(tmp_path / "run" / "splits.json").part(0).validation) if calibrated else set()
    )


def test_a_training_whose_cases_show_no_structure_ends_with_a_warning(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise NoStructureError("no case has a structure")

    monkeypatch.setattr("ldseg.evaluation.after_training.calibrate", none)
    events: list[dict[str, Any]] = []
    changes = {"training": {"steps": 1, "validations": 1}}
    result = train_run(data, tmp_path / "run", changes=changes, device="cpu", on_event=events.append)
    assert result.steps == 1
    assert ["not calibrated: no case has a structure"] in [event.get("warnings") for event in events]


def test_a_training_is_neither_started_over_nor_resumed_from_nothing(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="holds no training to resume"):
        train_run(data, run, resume=True)
    assert not run.exists()
    run.mkdir()
    (run / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="holds a training already; end it with --resume"):
        train_run(data, run)
    with pytest.raises(InputError, match="keeps its settings; leave out what sets training"):
        train_run(data, run, resume=True, changes={"training": {"steps": 1}})


def test_dir_lists_the_public_names() -> None:
    assert set(dir(ldseg)) == set(ldseg.__all__)
    assert {"plan", "train", "load", "evaluate", "read_image"} < set(dir(ldseg))
    assert {"LDSeg", "Predictor", "Prediction", "Volume", "InputError"} < set(dir(ldseg))
    for name in set(dir(ldseg)) - {"__version__"}:
        assert getattr(ldseg, name).__doc__


def test_an_image_is_read_with_its_grid(data: Path, tmp_path: Path) -> None:
    image = ldseg.read_image(data / "images" / "p0.png")
    assert isinstance(image, ldseg.Volume)
    assert (image.array.shape, image.array.dtype, image.axes) == ((1, 32, 32), np.float32, "yx")
    with pytest.raises(ldseg.InputError, match="there is no such file"):
        ldseg.read_image(tmp_path / "none.png")


def test_an_image_is_read_with_the_spacing_beside_it_as_a_model_reads_it(data: Path) -> None:
    (data / "spacing.csv").write_text("filename,mm\np0.png,0.4\n")
    image = ldseg.read_image(data / "images" / "p0.png")
    assert (image.spacing, image.physical) == ((0.4, 0.4), True)


def test_a_run_is_planned_by_the_public_name(data: Path, tmp_path: Path) -> None:
    assert ldseg.plan(data, tmp_path / "run") == read_plan(tmp_path / "run" / "plan.json")


def test_copies_of_masks_are_perfect_predictions(data: Path, tmp_path: Path) -> None:
    copies = shutil.copytree(data / "masks", tmp_path / "copies")
    assert ldseg.evaluate(copies, data).mean_dice == 1.0


def test_the_paper_preset_plans_images_scaled_to_the_unit_range(data: Path, tmp_path: Path) -> None:
    planned = plan_run(data, tmp_path / "run", preset="paper")
    assert [channel.scheme for channel in planned.channels] == ["unit"]
    assert planned.appearance == ()  # nothing is harmonized
    limits = PlanSettings(normalization="by_channel")
    assert plan_run(data, tmp_path / "kept", limits=limits, preset="paper").channels[0].scheme == "zscore"
    with pytest.raises(InputError, match="preset is 'best'; choose one of"):
        plan_run(data, tmp_path / "other", preset="best")


def test_the_paper_preset_on_another_plan_is_trained_with_a_warning(data: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    changes: dict[str, Any] = {"training": {"steps": 1, "calibrate": False, "validations": 0}}
    plan_run(data, tmp_path / "other")
    train_run(data, tmp_path / "other", "paper", changes, device="cpu", on_event=events.append)
    warnings = [text for event in events for text in event.get("warnings", ())]
    assert any("does not scale images to 0..1" in text for text in warnings)
    events.clear()
    train_run(data, tmp_path / "own", "paper", changes, device="cpu", on_event=events.append)
    assert not any(event.get("warnings") for event in events)
    assert read_plan(tmp_path / "own" / "plan.json").channels[0].scheme == "unit"


def test_nothing_is_written_for_a_fold_that_there_is_not(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fold 9 does not exist"):
        train_run(data, tmp_path / "run", changes={"training": {"fold": 9, "steps": 1}})
    assert [path.name for path in tmp_path.glob("run/*") if path.is_file()] == []
