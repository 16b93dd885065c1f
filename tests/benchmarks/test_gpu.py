"""The GPU benchmark keeps what it has, whatever ends one of its parts."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from result_files import BENCHMARKS, Script


@pytest.fixture
def journal(script: Script) -> ModuleType:
    return script("gpu_journal")


@pytest.fixture
def gpu(script: Script) -> ModuleType:
    return script("gpu")


def test_a_figure_that_cannot_be_taken_is_a_record_and_the_next_is_taken(
    journal: ModuleType, tmp_path: Path
) -> None:
    written = journal.Journal(tmp_path / "out.jsonl")
    written.attempt("speed", "broken", lambda: {"value": 1 / 0})
    written.attempt("speed", "sound", lambda: {"value": 2})
    broken, sound = journal.read_journal(tmp_path / "out.jsonl")
    assert broken["ok"] is False
    assert "ZeroDivisionError" in broken["error"]
    assert sound["value"] == 2


def test_a_line_cut_off_by_a_kill_costs_no_other(journal: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    journal.Journal(path).add("speed", "first", value=1)
    with path.open("a") as file:
        file.write('{"part": "spe')
    assert [one["name"] for one in journal.read_journal(path)] == ["first"]


def test_a_part_over_its_limit_is_ended(gpu: ModuleType) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(command, start_new_session=True, text=True)
    started = time.monotonic()
    gpu.wait([process], started + 0.3)
    assert process.returncode != 0
    assert time.monotonic() < started + 30


def test_trainings_of_nnunet_are_run_by_its_own_script(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(gpu.Run, "start", lambda _, *words: started.append(words))
    monkeypatch.setattr(gpu, "wait", lambda *_: None)
    trainings = ["hippocampus:nnunet:2", "hippocampus:unet:2:cuda-graphs"]
    gpu.quality(gpu.Run(Namespace(beside=[], trainings=trainings, minutes=1, workers=3), sys.stdout), 0)
    common = ("--minutes", "2", "--workers", "3")
    assert started == [
        ("gpu_nnunet.py", "quality", "--data", "hippocampus", "--model", "nnunet", *common),
        ("gpu_quality.py", "quality", "--data", "hippocampus", "--model", "unet", *common, "--cuda-graphs"),
    ]


@pytest.mark.parametrize("installed", [True, False])
def test_nnunet_reads_by_nibabel_only_where_simpleitk_is_missing(
    installed: bool, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("gpu_nnunet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if installed else None)
    monkeypatch.setenv("PYTHONPATH", "packages")
    given = Namespace(device="cuda:0", processes=4, workers=3, work=tmp_path, data="hippocampus")
    run = Namespace(model="nnunet", preset="default", seed=0, minutes=2.0, **vars(given))
    tool, reader = module.find_tool(run, SimpleNamespace(axes="zyx"))
    assert reader == (None if installed else "NibabelIO")
    assert tool.machine.device == "cuda"
    assert tool.machine.packages == (("packages",) if installed else ("packages", str(module.STAND_INS)))


def test_the_tables_show_each_way_of_a_step_and_its_share_of_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("gpu_tables")
    step = {
        "part": "step",
        "name": "unet-2d",
        "steps_per_s": 10.0,
        "host_ms": 9.0,
        "peak_memory_gb": 2.0,
        "profile": {"kernels": 700, "kernel_ms": 4.0},
        "work": {"tflop": 2.0, "gb": 50.0},
    }
    ceiling = {"part": "ceilings", "name": "cuda", "bf16_tflop_per_s": 800.0, "copy_tb_per_s": 4.0}
    graph = {"part": "graph", "name": "unet-2d", "steps_per_s": 40.0, "peak_memory_gb": 1.5}
    lines = [one | {"card": "H100"} for one in (ceiling, step, graph)]
    row = tables.steps_table(lines).splitlines()[-1]
    assert row == "| unet-2d | H100 | 10.0 | 40.0 | - | - | 9.0 | 700 | 4.0 | 2.0 | 10.0 % | 50 % |"


def test_a_step_that_was_timed_in_one_way_only_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("gpu_tables")
    line = {"part": "compiled_graph", "name": "unet-3d", "card": "H100", "steps_per_s": 67.2}
    row = tables.steps_table([line | {"peak_memory_gb": 0.7}]).splitlines()[-1]
    assert row == "| unet-3d | H100 | - | - | - | 67.2 | - | - | - | 0.7 | - | - |"


def test_of_two_cards_both_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tables = importlib.import_module("gpu_tables")
    line = {"part": "graph", "name": "unet-3d", "steps_per_s": 60.0}
    days = [{"commit": "a", "device": f"NVIDIA {card} 80GB", "lines": [line]} for card in ("H100", "H200")]
    assert [one["card"] for one in tables.merge(days)] == ["H100", "H200"]
    again = {"commit": "b", "device": "NVIDIA H200", "lines": [line | {"steps_per_s": 70.0}]}
    assert [(one["steps_per_s"], one["commit"]) for one in tables.merge([*days, again])] == [
        (60, "a"),
        (70, "b"),
    ]


@pytest.mark.parametrize("network", ["default", "unet", "dynunet"])
def test_each_network_takes_a_step(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    workloads = importlib.import_module("gpu_workloads")
    step = workloads.make_step(network, workloads.TINY_WORKLOADS[0], torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    step.run()
    after = [parameter.detach() for parameter in step.model.parameters()]
    assert any(bool((a != b).any()) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("network", ["default", "unet"])
def test_a_prediction_is_timed(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    speed = importlib.import_module("gpu_speed")
    found = speed.predictions(network, speed.find_workloads(tiny=True)[0], torch.device("cpu"))
    hosts = [found.pop(f"{sampling}_host") for sampling in ("1_step", "8_samples")]
    assert all(value > 0 for value in found.values())
    assert len(found) == 3
    for functions in hosts:
        assert functions[0][1] == max(seconds for _, seconds, _ in functions) > 0
