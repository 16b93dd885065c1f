"""Shipped models: found by name, sound, small, and with a card that says what is to be known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from volume_builders import volume

import ldseg
from ldseg.app.cli.main import main
from ldseg.data.formats import write_volume
from ldseg.errors import InputError
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import read_ensemble, store_ensemble
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan
from ldseg.runs.saved_model import load_model
from ldseg.utils.serialization import to_json, write_json_atomic
from ldseg.zoo import catalogue
from ldseg.zoo.catalogue import ABOUT_FILE, ABOUT_VERSION, About, find_model, read_about, shipped

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]
SHIPPED = sorted(shipped())
SPACED = {"fetal-head": True, "hippocampus": True, "nuclei": False}
ABOUT = About("A test", "noise", ("blob",), "nothing", 0.5, 3, "CC0-1.0")


@pytest.fixture
def zoo(tmp_path: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one model, `blob`."""
    folder = tmp_path / "zoo" / "blob"
    folder.parent.mkdir()
    make_model("zyx").rename(folder)
    write_json_atomic(folder / ABOUT_FILE, {"version": ABOUT_VERSION, **to_json(ABOUT)})
    monkeypatch.setattr(catalogue, "MODELS", folder.parent)
    return folder


def test_a_folder_comes_before_a_name(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("blob") == zoo
    (tmp_path / "blob").mkdir()
    assert find_model("blob") == Path("blob")


def test_what_is_neither_is_one_line_with_the_names_there_are(zoo: Path) -> None:
    del zoo
    with pytest.raises(InputError, match=r"blub: there is no such folder, nor a shipped model .*\(blob\)"):
        ldseg.load("blub")


def test_a_name_is_all_that_predict_needs(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del zoo
    monkeypatch.chdir(tmp_path)
    write_volume(tmp_path / "scan.nii.gz", volume("zyx", "image", shape=(8, 8, 8)))
    assert main(["predict", "scan.nii.gz", "--model", "blob", "--device", "cpu"]) == 0
    assert (tmp_path / "predictions" / "scan.nii.gz").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "x.nii.gz", "-m", "blob", "-o", "out", "--part", "test"),
        ("predict", "x.nii.gz", "-m", "blob", "-o", "out", "--runtime", "onnx"),
        ("predict", "x.nii.gz", "-m", "blob", "-m", "blob", "-o", "out"),
        ("report", "blob"),
    ],
)
def test_messages_call_a_shipped_model_by_its_name(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_volume(tmp_path / "x.nii.gz", volume("zyx", "image", shape=(8, 8, 8)))
    assert main([*words, "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ldseg: error: blob")
    assert str(zoo) not in said


def test_an_ensemble_of_shipped_models_names_them(zoo: Path, tmp_path: Path, make_model: MakeModel) -> None:
    """They are found again where ldseg is installed elsewhere."""
    places = (zoo, make_model("zyx"))
    ensemble = Ensemble([Predictor.load(place, "cpu") for place in places])
    store_ensemble(tmp_path / "both", ensemble, places)
    assert read_ensemble(tmp_path / "both").members[0].model == "blob"
    assert ldseg.load(tmp_path / "both", "cpu").identity.members == ensemble.identity.members


def test_models_are_listed_and_their_cards_shown(zoo: Path, capsys: Output) -> None:
    assert main(["models"]) == 0
    assert "blob" in capsys.readouterr().out
    assert main(["models", "blob"]) == 0
    assert capsys.readouterr().out.strip() == (zoo / "card.md").read_text().strip()
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blob"]["mean_dice"] == 0.5
    assert main(["models", "blub"]) == 2


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_small_and_loads(name: str) -> None:
    folder = shipped()[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    model = load_model(folder, torch.device("cpu"))
    about = read_about(folder)
    assert tuple(model.plan.classes)[1:] == about.structures
    assert (folder / "calibration.json").is_file()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_says_what_is_to_be_known(name: str) -> None:
    card = (shipped()[name] / "card.md").read_text()
    about = read_about(shipped()[name])
    for word in (about.licence, "Split", "Calibration", "Limits", "Reproduce"):
        assert word in card, word
    assert float(card.split("mean Dice ")[1].split(",")[0]) == pytest.approx(about.mean_dice, abs=6e-4)


def test_shipped_models_know_whether_their_images_had_a_spacing() -> None:
    known = {name: read_plan(find_model(name) / "plan.json").physical_spacing for name in SPACED}
    assert known == SPACED
