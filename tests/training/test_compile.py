"""torch.compile is asked for where it cannot work, and where it can."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_setup import Setup

from ldseg.runs.files import WEIGHTS_FILE
from ldseg.training.compile import compile_modules

CPU = torch.device("cpu")


def test_without_a_compiler_training_is_as_if_it_were_not_asked_for(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.run(tmp_path / "plain", steps=2, validations=1)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    warned: list[str] = []
    setup.run(
        tmp_path / "compiled",
        steps=2,
        validations=1,
        compile=True,
        on_event=lambda event: warned.extend(
            event.get("warnings", ()) if event["event"] == "warning" else ()
        ),
    )
    assert len(warned) == 1
    assert "no-such-compiler" in warned[0]
    plain, compiled = (load_file(tmp_path / run / WEIGHTS_FILE) for run in ("plain", "compiled"))
    for name, weight in plain.items():
        assert torch.equal(compiled[name], weight)


def test_compiled_modules_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.SiLU(), nn.Linear(4, 2)))
    x, names = torch.randn(5, 3), list(model.state_dict())
    before = model(x)
    graphs: list[object] = []
    compile_graph = torch.compile

    def remembered(function: object, **options: object) -> object:
        graphs.append(function)
        return compile_graph(function, backend="eager", **options)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "compile", remembered)
    assert compile_modules(model, CPU) == ""
    torch.testing.assert_close(model(x), before)
    assert list(model.state_dict()) == names
    assert len(graphs) == 3  # the trial and both modules
