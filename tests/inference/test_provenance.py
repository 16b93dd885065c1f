"""`prediction.json` says what made each file, and no file of an earlier prediction lies beside new ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ldseg
from ldseg.app.cli.main import main
from ldseg.data.cases import Case
from ldseg.data.inputs import find_inputs
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference import predict_cases as run_module
from ldseg.inference.predict_cases import PredictOptions, Summary, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance import describe_inputs

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate("abc"):
        grey = np.random.default_rng(number).integers(0, 255, (20, 30), np.uint8)
        Image.fromarray(grey).save(folder / f"{name}.png")
    return folder


def predict(model: Path, inputs: Path, out: Path, keep_going: bool = False, **more: Any) -> Summary:
    predictor = Predictor.load(model, "cpu")
    cases = find_inputs([inputs], len(predictor.plan.channels), predictor.plan.axes)
    return predict_cases(predictor, cases, out, PredictOptions(**more), keep_going)


def records(out: Path) -> dict[str, Any]:
    return json.loads((out / "prediction.json").read_text())


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {"plan.json", "prediction.json"}


def test_each_case_says_what_made_it(make_model: MakeModel, pictures: Path, tmp_path: Path) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out, samples=2, seed=3, save=("labels", "uncertainty"))
    found = records(out)
    assert found["version"] == 3
    assert found["failed"] == {}
    record = found["cases"]["a"]
    assert set(record["files"]) == files(out)
    assert record["inputs"] == [str(pictures / "a.png")]
    assert record["input_bytes"] == (pictures / "a.png").stat().st_size
    assert record["model"]["name"] == model.name
    assert record["model"]["sha256"] == sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert record["ldseg"] == ldseg.__version__
    assert (record["notes"], record["out_of_distribution"]) == ([], [])
    settings = record["settings"]
    assert (settings["seed"], settings["harmonize"]) == (3, True)
    assert settings["sampling"]["samples"] == 2
    assert settings["computation"]["device"] == "cpu"
    assert settings["computation"]["precision"] in ("fp32", "bf16")
    assert record["time"].endswith("+00:00")


@pytest.mark.parametrize("baseline, drawn", [("ssn", [None, None, 3]), ("unet", [None, 1, 1])])
def test_no_sampler_is_named_where_none_is_at_work(
    make_model: MakeModel, pictures: Path, tmp_path: Path, baseline: str, drawn: list[int | None]
) -> None:
    out = tmp_path / "out"
    predict(make_model(baseline=baseline), pictures / "a.png", out, samples=3, save=("labels", "uncertainty"))
    told = [records(out)["cases"]["a"]["settings"], json.loads((out / "a_summary.json").read_text())]
    for one in told:
        assert [one["sampling"][name] for name in ("sampler", "steps", "samples")] == drawn


def test_maps_of_an_earlier_prediction_go_where_the_new_one_differs(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures, out, samples=2, save=("labels", "uncertainty", "samples"))
    summary = predict(model, pictures / "a.png", out, samples=1)
    assert {name for name in files(out) if name.startswith("a")} == {"a.png"}
    assert "a_uncertainty.tif" in summary.removed["a"]
    assert "b_uncertainty.tif" in files(out)
    assert {len(one["files"]) for one in records(out)["cases"].values()} == {1, 6}
    samples = {name: one["settings"]["sampling"]["samples"] for name, one in records(out)["cases"].items()}
    assert samples == {"a": 1, "b": 2, "c": 2}


def test_maps_of_the_same_prediction_are_added(make_model: MakeModel, pictures: Path, tmp_path: Path) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out, samples=2)
    assert predict(model, pictures / "a.png", out, samples=2, save=("uncertainty",)).removed == {}
    assert {"a.png", "a_uncertainty.tif"} <= files(out)
    assert set(records(out)["cases"]["a"]["files"]) == files(out)


def test_an_image_that_changed_gives_another_prediction(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out, samples=2, save=("uncertainty",))
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(pictures / "a.png")
    predict(model, pictures / "a.png", out, samples=2)
    assert files(out) == {"a.png", "a_summary.json"}


def test_labels_in_another_format_take_the_place_of_the_earlier_ones(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out)
    predict(model, pictures / "a.png", out, format=".mhd", seed=1)
    assert files(out) == {"a.mhd", "a.raw"} or files(out) == {"a.mhd", "a.zraw"}
    predict(model, pictures / "a.png", out, seed=2)
    assert files(out) == {"a.png"}


def test_maps_in_a_format_of_two_files_are_predicted_again(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    for seed in (0, 1):
        predict(model, pictures / "a.png", out, format=".mhd", save=("uncertainty",), seed=seed)
    assert records(out)["cases"]["a"]["settings"]["seed"] == 1
    assert {path.suffix for path in out.glob("a_uncertainty.*")} in ({".mhd", ".raw"}, {".mhd", ".zraw"})


def test_an_image_that_is_gone_when_its_result_is_recorded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: changed while it was segmented"):
        describe_inputs(Case("gone", (tmp_path / "gone.png",), (), "gone"))


def test_maps_that_no_record_knows_are_not_mixed_with_new_ones(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out, samples=2, save=("labels", "uncertainty"))
    (out / "prediction.json").write_text('{"version": 3}')
    with pytest.raises(InputError, match=r"a_disagreement\.tif: is of an earlier prediction of a"):
        predict(model, pictures / "a.png", out)
    assert "a_uncertainty.tif" in files(out)
    for path in out.glob("a_*"):
        path.unlink()
    predict(model, pictures / "a.png", out)
    assert list(records(out)["cases"]) == ["a"]


def test_a_case_that_fails_is_recorded_and_keeps_its_earlier_files(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures, out)
    (pictures / "b.png").write_bytes(b"")
    summary = predict(model, pictures, out, keep_going=True, seed=1)
    assert summary.kept == ("b",)
    found = records(out)
    assert "b.png" in found["failed"]["b"]
    assert {name: one["settings"]["seed"] for name, one in found["cases"].items()} == {"a": 1, "b": 0, "c": 1}
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(pictures / "b.png")
    predict(model, pictures / "b.png", out)
    assert records(out)["failed"] == {}


def test_predictions_with_other_classes_do_not_share_a_folder(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures, out)
    plan = json.loads((model / "plan.json").read_text())
    plan["classes"] = {f"other {name}": id_ for name, id_ in plan["classes"].items()}
    (model / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match="holds predictions with other classes"):
        predict(model, pictures / "a.png", out)
    predict(model, pictures, out)


def test_two_cases_never_write_one_file(make_model: MakeModel, pictures: Path, tmp_path: Path) -> None:
    (pictures / "b.png").rename(pictures / "a_sample1.png")
    with pytest.raises(InputError, match=r"a_sample1\.png: would be a result of"):
        predict(make_model(), pictures, tmp_path / "out", samples=2, save=("labels", "samples"))


def test_what_was_assumed_on_reading_is_told_and_recorded(
    make_model: MakeModel, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    load = run_module.load_input

    def assuming(*arguments: Any) -> Volume:
        return replace(load(*arguments), notes=("nothing says how large a pixel is",))

    monkeypatch.setattr(run_module, "load_input", assuming)
    words = ["predict", str(pictures), "-m", str(make_model()), "--device", "cpu", "-o"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert "a, b, c: nothing says how large a pixel is" in capsys.readouterr().out
    assert records(tmp_path / "out")["cases"]["a"]["notes"] == ["nothing says how large a pixel is"]
    assert main([*words, str(tmp_path / "out2"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["notes"]["c"] == ["nothing says how large a pixel is"]
    assert told["cases"]["c"] == records(tmp_path / "out2")["cases"]["c"]


def test_a_damaged_record_is_one_line_and_leads_nowhere(
    make_model: MakeModel, pictures: Path, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    predict(model, pictures / "a.png", out)
    content = records(out)
    content["cases"]["a"]["files"] = ["../in/c.png"]
    (out / "prediction.json").write_text(json.dumps(content))
    predict(model, pictures / "a.png", out, seed=1)
    assert (pictures / "c.png").exists()
    (out / "prediction.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        predict(model, pictures / "a.png", out)
