"""Members of an ensemble are exported with the sampling by which they predict together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ldseg.app.cli.main import main
from ldseg.export import ensemble as exporting
from ldseg.export.onnx import OnnxExport, make_onnx_spec
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import store_ensemble
from ldseg.inference.predictor import Predictor
from ldseg.runs.saved_model import SavedModel, load_model

MakeModel = Callable[..., Path]


def test_graphs_of_members_with_other_steps_fit_each_other(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [make_model().rename(tmp_path / "a"), make_model().rename(tmp_path / "b")]
    for place, steps, tta in zip(places, (4, 7), (True, False), strict=True):
        settings = json.loads((place / "settings.json").read_text())
        settings["posterior"] |= {"steps": steps, "tta": tta}
        (place / "settings.json").write_text(json.dumps(settings))
    store_ensemble(tmp_path / "both", Ensemble([Predictor.load(place, "cpu") for place in places]), places)
    (tmp_path / "both" / "segments.json").write_text("codes")
    asked: list[tuple[Any, ...]] = []

    def export_without_tracing(place: Path, out: Path, *sampling: Any) -> OnnxExport:
        asked.append((place.name, *sampling[:-2]))
        model = load_model(place, torch.device("cpu"))
        spec = make_onnx_spec(model, model.settings.posterior, 0.0)
        out.mkdir()
        (out / spec.graph).write_bytes(b"graph")
        return OnnxExport(out, spec, 0.0)

    monkeypatch.setattr(exporting, "export_onnx", export_without_tracing)
    exporting.export_onnx_ensemble(tmp_path / "both", tmp_path / "onnx", samples=6)
    assert asked == [(name, 4, 6, "preconditioned_ddim", True) for name in ("a", "b")]
    assert (tmp_path / "onnx" / "segments.json").read_text() == "codes"


def test_the_command_loads_each_member_once(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [make_model().rename(tmp_path / "a"), make_model(baseline="unet").rename(tmp_path / "b")]
    store_ensemble(tmp_path / "both", Ensemble([Predictor.load(place, "cpu") for place in places]), places)
    loaded: list[str] = []

    def counted(folder: Path, *how: Any) -> SavedModel:
        loaded.append(folder.name)
        return load_model(folder, *how)

    def export_without_tracing(_: Path, out: Path, *how: Any) -> OnnxExport:
        model: SavedModel = how[-1]
        out.mkdir()
        (out / "model.onnx").write_bytes(b"graph")
        return OnnxExport(out, make_onnx_spec(model, model.settings.sampling, 0.0), 0.0)

    for module in ("ldseg.inference.predictor", "ldseg.export.onnx"):
        monkeypatch.setattr(f"{module}.load_model", counted)
    monkeypatch.setattr(exporting, "export_onnx", export_without_tracing)
    words = ["export", str(tmp_path / "both"), "-o", str(tmp_path / "out"), "--samples", "4", "--format"]
    assert main([*words, "monai-bundle"]) == 2
    assert loaded == []
    assert main([*words, "onnx"]) == 0
    assert loaded == ["a", "b"]
    assert "b: the model is deterministic and gives one prediction: --samples" in capsys.readouterr().err
