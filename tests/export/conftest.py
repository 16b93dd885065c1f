"""Exports of small models, each made once: tracing takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MakeModel = Callable[..., Path]


@dataclass(frozen=True)
class Exported:
    """A model's folder and its ONNX export."""

    model: Path
    onnx: Path


MakeExport = Callable[..., Exported]


@pytest.fixture(scope="session")
def exports() -> dict[Any, Exported]:
    """What was exported in this session."""
    return {}


@pytest.fixture
def make_export(
    make_model: MakeModel, exports: dict[Any, Exported], tmp_path_factory: pytest.TempPathFactory
) -> MakeExport:
    """make_export(axes, baseline, preset, channels, steps=.., samples=.., sampler=..) -> its folders, which
    tests share and leave as they are."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from ldseg.export.onnx import export_onnx

    def make(*model: Any, **sampling: Any) -> Exported:
        key = (model, tuple(sorted(sampling.items())))
        if key not in exports:
            root = tmp_path_factory.mktemp("export")
            kept = root / "model"
            shutil.copytree(make_model(*model), kept)
            exports[key] = Exported(kept, export_onnx(kept, root / "onnx", **sampling).folder)
        return exports[key]

    return make
