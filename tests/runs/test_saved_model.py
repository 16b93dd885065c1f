"""A model's folder: what is saved is what is loaded, and a bad folder is one line of complaint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ldseg.errors import InputError
from ldseg.methods.base import Segmenter
from ldseg.planning.plan import read_plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import SEGMENTERS, SavedModel, build_segmenter, load_model, save_model
from ldseg.settings import RunSettings

MakeModel = Callable[..., Path]
CPU = torch.device("cpu")


@pytest.mark.parametrize("baseline", SEGMENTERS)
@pytest.mark.parametrize("axes", ["yx", "zyx"])
@pytest.mark.parametrize("preset", PRESETS)
def test_what_was_saved_is_loaded(make_model: MakeModel, baseline: str, axes: str, preset: str) -> None:
    folder = make_model(axes, baseline, preset)
    first = load_model(folder, CPU)
    again = folder.with_name("again")
    save_model(again, first.segmenter, first.plan, first.settings, "card")
    second = load_model(again, CPU)
    assert (second.plan, second.settings) == (first.plan, first.settings)
    assert first.settings.baseline == baseline
    for name, value in first.segmenter.state_dict().items():
        assert torch.equal(value, second.segmenter.state_dict()[name])
    assert not second.segmenter.training


def test_a_folder_holds_no_pickle(make_model: MakeModel) -> None:
    assert sorted(path.name for path in make_model().iterdir()) == [
        "card.md",
        "model.safetensors",
        "plan.json",
        "settings.json",
    ]


def _edit(folder: Path, name: str, **changes: object) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | changes))


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _other_weights(folder: Path) -> None:
    plan = replace(read_plan(folder / "plan.json"), widths=(8, 8))
    settings = PRESETS["default"](plan)
    save_model(folder / "x", build_segmenter(settings), plan, settings, "")
    shutil.copy(folder / "x" / "model.safetensors", folder)


def _edit_model(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "settings.json").read_text())
    content["model"] |= changes
    (folder / "settings.json").write_text(json.dumps(content))


def _edit_part(folder: Path, part: str, **changes: object) -> None:
    content = json.loads((folder / "settings.json").read_text())
    content["model"][part] |= changes
    (folder / "settings.json").write_text(json.dumps(content))


def _giant(folder: Path) -> None:
    """A time embedding whose layers would take gigabytes."""
    _edit_part(folder, "denoiser", time_features=60_000)


def _not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = torch.nan
    save_file(weights, folder / "model.safetensors")


def _pickle(folder: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, folder / "model.safetensors")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("gone")), "there is no such folder"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        r"model\.safetensors: there is no such file",
    ),
    "no plan": (lambda f: (f / "plan.json").unlink(), r"plan\.json: there is no such file"),
    "no settings": (lambda f: (f / "settings.json").unlink(), r"settings\.json: there is no such file"),
    "truncated weights": (_truncate, r"model\.safetensors: the weights are damaged"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "the weights are damaged"),
    "a pickle": (_pickle, "the weights are damaged"),
    "weights that are no numbers": (_not_finite, "has numbers that are none"),
    "a giant": (_giant, "the weights do not fit settings.json"),
    "more than a giant": (lambda f: _edit_model(f, latent_channels=10**12), "it must be 0 to 65536"),
    "a negative size": (lambda f: _edit_model(f, latent_channels=-4), "latent_channels is -4; it must be"),
    "no end of blocks": (
        lambda f: _edit_part(f, "label_encoder", blocks=10**9),
        "blocks is 1000000000; it must be 0 to 64",
    ),
    "nested without end": (lambda f: (f / "plan.json").write_text("[" * 10**5), "cannot be read as JSON"),
    "an infinite number": (
        lambda f: (f / "plan.json").write_text('{"version": 1, "spacing": [1e999]}'),
        "1e999 is not a number",
    ),
    "samples without end": (
        lambda f: _edit(f, "settings.json", posterior={"sampler": "ddim", "steps": 8, "samples": 10**9}),
        "posterior.samples is 1000000000; it must be 0 to 65536",
    ),
    "giant ids": (lambda f: _edit(f, "plan.json", classes={"b": 0, "c": 1, "d": 10**12}), "ids beyond"),
    "a giant patch": (lambda f: _edit(f, "plan.json", patch=[10**7, 16]), "patch.0. is 10000000; it must"),
    "other weights": (_other_weights, "the weights do not fit settings.json"),
    "newer settings": (lambda f: _edit(f, "settings.json", version=99), "is of version 99"),
    "newer plan": (lambda f: _edit(f, "plan.json", version=99), r"plan\.json.*99"),
    "no version": (lambda f: _edit(f, "settings.json", version="one"), "has no version number"),
    "unknown setting": (lambda f: _edit(f, "settings.json", extra=1), "extra is not a field here"),
    "damaged settings": (lambda f: (f / "settings.json").write_text("{"), "cannot be read as JSON"),
    "unknown baseline": (lambda f: _edit(f, "settings.json", baseline="voxels"), "baseline is .voxels."),
    "patch": (lambda f: _edit(f, "plan.json", patch=[18, 18]), r"plan\.json: patch"),
    "classes": (lambda f: _edit(f, "plan.json", classes={"b": 0, "c": 1}), "classes has 2 entries"),
    "channels": (
        lambda f: _edit(f, "plan.json", channels=2 * json.loads((f / "plan.json").read_text())["channels"]),
        "channels has 2 entries, the model has 1 image channels",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_folder_is_one_line(make_model: MakeModel, bad: str) -> None:
    folder = make_model()
    damage, message = BAD[bad]
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_model(folder, CPU)
    assert "\n" not in str(caught.value)


def test_a_folder_of_models_says_which_it_holds(make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no model; give what `ldseg train` wrote"):
        load_model(tmp_path / "empty", torch.device("cpu"))
    model = make_model()
    with pytest.raises(InputError, match=f"holds no model; give one of those below it, e.g. {model}"):
        load_model(model.parent, torch.device("cpu"))


def test_a_giant_is_refused_before_it_takes_memory(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model()
    _giant(folder)
    devices: list[str] = []
    usual = build_segmenter

    def build(settings: RunSettings) -> Segmenter:
        devices.append(str(torch.get_default_device()))
        return usual(settings)

    monkeypatch.setattr("ldseg.runs.saved_model.build_segmenter", build)
    with pytest.raises(InputError, match="do not fit"):
        load_model(folder, CPU)
    assert devices == ["meta"]


def test_a_full_disk_while_saving_leaves_the_older_model_whole(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model()
    model: SavedModel = load_model(folder, CPU)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, content: bytes) -> None:
        raise InputError(f"{path}: not written, no space left on the disk ({len(content)})")

    monkeypatch.setattr("ldseg.runs.saved_model.write_bytes_atomic", full)
    with pytest.raises(InputError, match="no space left"):
        save_model(folder, model.segmenter, model.plan, model.settings, "card")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_plan_edited_by_hand_is_used(make_model: MakeModel) -> None:
    folder = make_model()
    _edit(folder, "plan.json", patch=[32, 24])
    assert load_model(folder, CPU).plan.patch == (32, 24)
    assert read_plan(folder / "plan.json").patch == (32, 24)
