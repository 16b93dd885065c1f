"""Training that begins with the weights of another model: what fits is carried over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_plan
from training_setup import write_pictures

from ldseg.api import plan_run, train_run
from ldseg.data.dataset import open_dataset
from ldseg.data.splits import Fold, Splits, read_splits, write_splits
from ldseg.errors import InputError
from ldseg.planning.adoption import adopt_plan
from ldseg.planning.direction import Direction
from ldseg.planning.fingerprint import take_fingerprint
from ldseg.planning.plan import ChannelPlan, Plan, PlanSettings, make_plan, read_plan
from ldseg.presets import PRESETS
from ldseg.runs.run_setup import SplitOptions
from ldseg.runs.saved_model import build_segmenter
from ldseg.runs.source import Source, find_source
from ldseg.settings import RunSettings
from ldseg.training.log_files import read_records
from ldseg.training.transfer import Transfer, check_source, transfer_weights

MakeModel = Callable[..., Path]


def transferred(
    plan: Plan, model: Path, baseline: Any = "none"
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Transfer]:
    """The weights of a new model after the transfer, those of the source, and what was carried."""
    settings: RunSettings = replace(PRESETS["default"](plan), baseline=baseline)
    torch.manual_seed(1)
    segmenter = build_segmenter(settings)
    transfer = transfer_weights(segmenter, plan, settings, find_source(model))
    return segmenter.state_dict(), load_file(model / "model.safetensors"), transfer


@pytest.mark.parametrize("baseline", ["none", "unet", "pixel_diffusion", "ssn", "probabilistic_unet"])
def test_a_model_of_the_same_shape_is_carried_over_whole(make_model: MakeModel, baseline: str) -> None:
    own, theirs, transfer = transferred(tiny_plan(), make_model(baseline=baseline), baseline)
    assert (transfer.share, transfer.in_part, transfer.new) == (1.0, (), ())
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_classes_are_carried_by_name_and_then_in_their_order(make_model: MakeModel) -> None:
    plan = replace(tiny_plan(), classes={"background": 0, "new": 1, "right": 2, "more": 3})
    own, theirs, transfer = transferred(plan, make_model())
    assert transfer.new == ()
    assert set(transfer.in_part) == {
        *(f"decoder.{name}.{kind}" for name in ("head", "shortcut") for kind in ("weight", "bias")),
        "label_encoder.shortcut.weight",
        "label_encoder.backbone.stem.weight",
    }
    for name, axis in (("decoder.shortcut.weight", 0), ("label_encoder.shortcut.weight", 1)):
        rows = own[name].movedim(axis, 0).unflatten(0, (4, 16))
        source = theirs[name].movedim(axis, 0).unflatten(0, (3, 16))
        assert torch.equal(rows[0], source[0])
        assert torch.equal(rows[1], source[1]), "left is the one that is left for the new class"
        assert torch.equal(rows[2], source[2])
        assert not (rows[3] == source[:, None]).all(-1).any(), "a further class begins from nothing"


@pytest.mark.parametrize(
    "channels, expected",
    [
        (("channel1", "channel0"), [[0.0, 1.0], [1.0, 0.0]]),
        (("t1", "t2"), [[1.0, 0.0], [0.0, 1.0]]),
        (("grey",), [[1.0, 1.0]]),
        (("r", "g", "b"), [[1 / 3, 1 / 3]] * 3),
        (("channel1", "flair"), [[0.0, 1.0], [1.0, 0.0]]),
        (("t2", "channel1", "flair"), [[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
    ],
)
def test_channels_are_carried_by_name_else_by_number_else_as_their_mean(
    make_model: MakeModel, channels: tuple[str, ...], expected: list[list[float]]
) -> None:
    plan = replace(tiny_plan(), channels=tuple(ChannelPlan(name, "zscore") for name in channels))
    own, theirs, transfer = transferred(plan, make_model(channels=2))
    name = "image_encoder.backbone.stem.weight"
    new, old = (weights[name].unflatten(1, (-1, 4)) for weights in (own, theirs))
    assert torch.allclose(new, torch.einsum("no,aoc...->anc...", torch.tensor(expected), old))
    assert transfer.new == ()


def test_an_image_equal_in_all_channels_has_the_features_of_the_grey_one(make_model: MakeModel) -> None:
    plan = replace(tiny_plan(channels=3), classes=tiny_plan().classes)
    own, theirs, _ = transferred(plan, make_model())
    name = "image_encoder.backbone.stem.weight"
    summed = own[name].unflatten(1, (3, 4)).sum(1)
    assert torch.allclose(summed, theirs[name], atol=1e-6)


def test_what_has_another_shape_is_new_and_is_told(make_model: MakeModel) -> None:
    plan = replace(tiny_plan(), strides=((4, 4), (2, 2)), widths=(4, 8))
    own, theirs, transfer = transferred(plan, make_model())
    assert 0 < transfer.share < 1
    assert "image_encoder.backbone.stem.weight" in transfer.new
    names = {*transfer.carried, *transfer.in_part, *transfer.new}
    assert names == set(own)
    for name in transfer.carried:
        assert torch.equal(own[name], theirs[name])


def test_a_source_of_other_dimensions_or_architecture_is_one_line(make_model: MakeModel) -> None:
    plan, settings = tiny_plan(), PRESETS["default"](tiny_plan())
    for axes, baseline, preset, message in (
        ("zyx", "none", "default", "segments images of 3 dimensions, the data have 2"),
        ("yx", "unet", "default", "is a model of the kind unet, and latent diffusion is to be trained"),
        ("yx", "none", "paper", "has the denoiser paper, .* give --preset paper"),
    ):
        source = find_source(make_model(axes, baseline, preset))
        with pytest.raises(InputError, match=message):
            check_source(plan, settings, source)


def test_the_plan_may_be_the_sources_or_new_with_its_widths(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", size=40)
    dataset = open_dataset(tmp_path / "data")
    fingerprint = take_fingerprint(dataset, dataset.cases)
    plan, source = make_plan(fingerprint, dataset, PlanSettings()), tiny_plan()
    new = adopt_plan(plan, fingerprint, source, "new", "m")
    assert (new.patch, new.strides, new.spacing) == (plan.patch, plan.strides, plan.spacing)
    assert (set(new.widths), new.latent_channels) == ({4}, 2)
    same = adopt_plan(plan, fingerprint, replace(source, resample=False), "source", "m")
    assert (same.patch, same.strides, same.widths) == (source.patch, source.strides, source.widths)
    assert (same.tiled, same.classes) == (True, plan.classes)
    in_mm = replace(source, physical_spacing=True)
    with pytest.raises(InputError, match="planned for a spacing in mm, the data have it in voxels"):
        adopt_plan(plan, fingerprint, in_mm, "source", "m")


@pytest.mark.parametrize(
    "name, direction, flips",
    [
        ("left lung", None, ()),
        ("lower lip", None, (1,)),
        ("lung", Direction(0.6, 0.8), (1,)),
        ("lung", Direction(0.0, 0.1), (0, 1)),
        ("lung", None, (0, 1)),
    ],
)
def test_flips_of_the_source_that_would_exchange_structures_are_not_its_plans(
    tmp_path: Path, name: str, direction: Direction | None, flips: tuple[int, ...]
) -> None:
    write_pictures(tmp_path / "data", size=40)
    dataset = open_dataset(tmp_path / "data")
    found = take_fingerprint(dataset, dataset.cases)
    found = replace(found, classes=(replace(found.classes[0], name=name),), direction=direction)
    plan, source = make_plan(found, dataset, PlanSettings()), replace(tiny_plan(), resample=False)
    made = adopt_plan(plan, found, replace(source, mirror_axes=(0, 1)), "source", "m")
    assert made.mirror_axes == flips
    assert adopt_plan(plan, found, source, "source", "m").mirror_axes == ()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "data", 6)
    return tmp_path / "data"


CHANGES: dict[str, Any] = {"training": {"steps": 1, "validations": 0, "calibrate": False, "batch": 2}}


@pytest.mark.parametrize("choice", ["new", "source"])
def test_a_training_begins_with_a_trained_model(
    data: Path, tmp_path: Path, make_model: MakeModel, choice: Any
) -> None:
    model, run, events = make_model(), tmp_path / "run", list[dict[str, Any]]()
    train_run(
        data, run, changes=CHANGES, device="cpu", on_event=events.append, source=model, source_plan=choice
    )
    (told,) = (event for event in events if event["event"] == "transferred")
    logged = [record for record in read_records(run) if record["event"] == "transferred"]
    assert logged == [json.loads(json.dumps(told))]
    assert told["share"] > (0.9 if choice == "source" else 0.3)
    assert (read_plan(run / "plan.json").patch == (16, 16)) == (choice == "source")
    assert f"- Begun with the weights of {model.name}" in (run / "card.md").read_text()


def test_the_first_weights_are_those_of_the_source(data: Path, tmp_path: Path, make_model: MakeModel) -> None:
    """With a learning rate of nearly nothing, also of the moving average and after a kill before the first
    checkpoint."""
    model, run = make_model(), tmp_path / "run"
    changes = {"training": {**CHANGES["training"], "learning_rate": 1e-12, "weight_decay": 0.0}}
    train_run(data, run, changes=changes, device="cpu", source=model, source_plan="source")
    theirs = load_file(model / "model.safetensors")["image_encoder.head.weight"]
    for _ in range(2):
        ours = load_file(run / "model.safetensors")["image_encoder.head.weight"]
        assert torch.allclose(ours, theirs, atol=1e-6)
        shutil.rmtree(run / "state")
        (run / "model.safetensors").unlink()
        train_run(data, run, device="cpu", resume=True)
    assert len([record for record in read_records(run) if record["event"] == "transferred"]) == 1


def test_a_shipped_model_is_a_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from PIL import Image

    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((64, 64), np.uint8)
        mask[10:40, 20:50] = 1
        colours = rng.integers(0, 90, (64, 64, 3), dtype=np.uint8) + 100 * mask[..., None]
        Image.fromarray(colours).save(tmp_path / "data" / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{number}.png")
    plan_run(tmp_path / "data", tmp_path / "planned")
    assert find_source("nuclei").model == "nuclei"
    plan = read_plan(tmp_path / "planned" / "plan.json")
    source = find_source("nuclei")
    dataset = open_dataset(tmp_path / "data")
    plan = adopt_plan(plan, take_fingerprint(dataset, dataset.cases), source.plan(), "new", "nuclei")
    settings = PRESETS["default"](plan)
    transfer = transfer_weights(build_segmenter(settings), plan, settings, source)
    assert transfer.share > 0.5


def test_a_bad_source_is_one_line_and_writes_nothing(
    data: Path, tmp_path: Path, make_model: MakeModel
) -> None:
    run = tmp_path / "run"
    (tmp_path / "folds" / "fold_0").mkdir(parents=True)
    for name in ("settings.json", "model.safetensors"):
        (tmp_path / "folds" / "fold_0" / name).touch()
    for source, choice, message in (
        ("nothing", "new", "there is no such folder, nor a shipped model"),
        (make_model("zyx"), "new", "segments images of 3 dimensions"),
        (tmp_path / "folds", "new", r"is a training in folds; choose one, e\.g\. .*fold_0"),
        (tmp_path, "new", "holds no model; give one of those below it"),
        (None, "source", "--plan source needs a model"),
    ):
        chosen: Any = choice
        with pytest.raises(InputError, match=message):
            train_run(data, run, changes=CHANGES, device="cpu", source=source, source_plan=chosen)
        assert not run.exists()
    for limits, message in (
        (PlanSettings(patch=(16, 16)), "takes spacing and patch of the source"),
        (PlanSettings(batch=1), "takes the batch of the source; give another as --training.batch"),
    ):
        with pytest.raises(InputError, match=message):
            train_run(data, run, limits=limits, changes=CHANGES, source=make_model(), source_plan="source")


def test_folds_that_begin_later_begin_with_the_same_source(
    data: Path, tmp_path: Path, make_model: MakeModel
) -> None:
    model, run = make_model(), tmp_path / "run"
    train_run(data, run, changes=CHANGES, device="cpu", source=model, source_plan="source", folds=2)
    shutil.rmtree(run / "fold_1")
    train_run(data, run, device="cpu", resume=True)
    assert next(record["event"] for record in read_records(run / "fold_1")) == "transferred"
    shutil.rmtree(run / "fold_1")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(InputError, match="has other weights than when the training began"):
        train_run(data, run, device="cpu", resume=True)


@pytest.mark.parametrize("folds, remedy", [(None, "take its split with --splits"), (2, "of other images")])
def test_cases_that_the_source_was_trained_on_are_no_measure_in_silence(
    data: Path, tmp_path: Path, make_model: MakeModel, folds: int | None, remedy: str
) -> None:
    names = [case.name for case in open_dataset(data).cases]
    source, events = make_model(), list[dict[str, Any]]()
    split = Splits(1, 0, (), (Fold(tuple(names[1:]), (names[0],)),))
    write_splits(source / "splits.json", split)
    wanted = None if folds else SplitOptions(seed=2)
    how: dict[str, Any] = {"changes": CHANGES, "device": "cpu", "source": source, "source_plan": "source"}
    train_run(data, tmp_path / "run", split=wanted, on_event=events.append, folds=folds, **how)
    own = read_splits(tmp_path / "run" / "splits.json")
    held_out = own.folds[0].validation if folds is None else names
    seen = set(held_out) - {names[0]}
    (told,) = [one for event in events for one in event.get("warnings", ()) if "was trained on" in one]
    assert told.startswith(f"{source.name} was trained on {len(seen)} of the {len(held_out)} cases")
    assert remedy in told


def test_the_split_of_the_source_holds_out_what_it_had_not_seen(
    data: Path, tmp_path: Path, make_model: MakeModel
) -> None:
    names = [case.name for case in open_dataset(data).cases]
    source, events = make_model(), list[dict[str, Any]]()
    write_splits(source / "splits.json", Splits(1, 0, (), (Fold(tuple(names[1:]), (names[0],)),)))
    given = SplitOptions(source / "splits.json")
    how: dict[str, Any] = {"changes": CHANGES, "device": "cpu", "source": source, "source_plan": "source"}
    train_run(data, tmp_path / "run", split=given, on_event=events.append, **how)
    assert not any("was trained on" in one for event in events for one in event.get("warnings", ()))


def test_a_fold_is_named_with_its_run() -> None:
    assert Source("/runs/first/fold_0", "").name == "first/fold_0"
    assert Source("/runs/first/best", "").name == "first/best"
    assert Source("/runs/first", "").name == "first"
