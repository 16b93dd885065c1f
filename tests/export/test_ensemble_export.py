"""Members of an ensemble are exported with the sampling by which they predict together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ldseg.export import ensemble as exporting
from ldseg.export.onnx import OnnxExport, make_onnx_spec
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import store_ensemble
from ldseg.inference.predictor import Predictor
from ldseg.runs.saved_model import load_model

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
    asked: list[tuple[Any, ...]] = []

    def export_without_tracing(place: Path, out: Path, *sampling: Any) -> OnnxExport:
        asked.append((place.name, *sampling[:-1]))
        model = load_model(place, torch.device("cpu"))
        spec = make_onnx_spec(model, model.settings.posterior, 0.0)
        out.mkdir()
        (out / spec.graph).write_bytes(b"graph")
        return OnnxExport(out, spec, 0.0)

    monkeypatch.setattr(exporting, "export_onnx", export_without_tracing)
    exporting.export_onnx_ensemble(tmp_path / "both", tmp_path / "onnx", samples=6)
    assert asked == [(name, 4, 6, "preconditioned_ddim", True) for name in ("a", "b")]
