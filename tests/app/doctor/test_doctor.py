"""The page for bug reports: it is whole on any machine, and what is known to be bad is said."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ldseg.app.cli.main import main
from ldseg.app.doctor import environment as facts
from ldseg.app.doctor import probing
from ldseg.app.doctor.environment import EXTRAS, REQUIRED, SECTIONS, collect
from ldseg.app.doctor.known_issues import MachineReport, known_issues

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def a_report(**changes: dict[str, Any]) -> MachineReport:
    """A machine without fault, with some sections' facts changed."""
    good: MachineReport = {
        "software": {"Python": "3.12.1", "torch": "2.13.0+cpu", "monai": "1.6.1"},
        "processor": {"usable cores": 4},
        "memory": {"total GB": 32.0, "available GB": 20.0},
        "disk": {"here GB free": 50.0},
        "device": {
            "chosen": "cpu",
            "torch threads": 4,
            "ldseg computes in": "fp32",
            "CUDA build": None,
        },
        "convolution": {
            "conv2d fp32 GFLOP/s": 90,
            "conv3d fp32 GFLOP/s": 80,
            "conv3d bf16 speed-up": 0.9,
        },
        "compile": {},
    }
    return {name: {**section, **changes.get(name, {})} for name, section in good.items()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured."""
    monkeypatch.setattr(probing, "probe", lambda _: {step: {"unknown": "-"} for step in probing.STEPS})


@pytest.mark.usefixtures("quick")
def test_the_page_has_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [*SECTIONS, *probing.STEPS, "known issues"]
    assert len(lines) < 66  # one page


@pytest.mark.usefixtures("quick")
def test_a_program_can_read_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {*SECTIONS, *probing.STEPS, "known_issues"}
    assert found["software"]["torch"]


@pytest.mark.usefixtures("quick")
def test_a_strange_machine_is_told_as_far_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no such thing here")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    monkeypatch.setattr(facts, "version", refuse)
    monkeypatch.setattr("psutil.virtual_memory", refuse)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("PermissionError: no such thing here") >= 3


def test_it_names_what_the_project_needs() -> None:
    text = PROJECT.read_text(encoding="utf-8")
    needed = re.findall(
        r'^  "([A-Za-z0-9-]+)[^"]*",$', text.split("dependencies = [")[1].split("]")[0], re.MULTILINE
    )
    assert set(REQUIRED) == set(needed)
    optional = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    assert {*EXTRAS, "docs", "dev"} == set(re.findall(r"^(\w+) = \[", optional, re.MULTILINE))
    for extra, names in EXTRAS.items():
        (line,) = re.findall(rf"^{extra} = \[(.*)\]$", optional, re.MULTILINE)
        assert tuple(re.findall(r'"([A-Za-z0-9]+)', line)) == names


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "installed", lambda name: None if name == "pydicom" else "1.0")
    assert collect()["extras"]["dicom"] == "not installed (no pydicom)"


def fake_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> str:
    """A module for the child process that first takes the step "device"."""
    line = json.dumps({"step": "device", "section": {"chosen": "cpu"}})
    text = f"print({line!r}, flush=True)\n{code}"
    (tmp_path / "fake_probe.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "fake_probe"


@pytest.mark.parametrize(
    "code, reason",
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4 \\(SIGILL\\)"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "not reached within"),
    ],
)
def test_a_measurement_that_dies_or_hangs_costs_only_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    module = fake_probe(tmp_path, monkeypatch, code)
    started = time.monotonic()
    found = probing.probe(3.0, module)
    assert time.monotonic() - started < 20
    assert found["device"] == {"chosen": "cpu"}
    assert re.search(reason, str(found["compile"]["unknown"]))


def test_what_bf16_gives_is_measured() -> None:
    from ldseg.app.doctor.probe import convolution_section, device_section

    assert device_section()["ldseg computes in"] in ("bf16", "fp32")
    found = convolution_section()
    assert all(isinstance(value, (int, float)) and value > 0 for value in found.values())


def test_nothing_is_said_of_a_good_machine() -> None:
    assert known_issues(a_report()) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"software": {"torch": "2.9.1+cu128"}}, "torch 2.9 has slow 3D convolutions"),
        ({"software": {"torch": "2.6.0"}}, "older than 2.8"),
        ({"software": {"monai": "1.4.0"}}, "MONAI is older"),
        ({"software": {"Python": "3.14.0"}}, "Python 3.10 to 3.13"),
        ({"software": {"scipy": "missing"}}, "missing: scipy"),
        ({"device": {"torch threads": 64}}, "set OMP_NUM_THREADS=4"),
        ({"memory": {"container's limit GB": 4.0}}, "give --cpu-memory"),
        ({"disk": {"here GB free": 0.3}}, "only 0.3 GB are free for here"),
        ({"device": {"CUDA build": "12.8"}}, "finds no GPU"),
        (
            {"device": {"GPU architecture": "sm_120", "architectures of this torch": "sm_80 sm_90"}},
            "not built for the GPU's architecture sm_120",
        ),
        ({"convolution": {"conv3d bf16 speed-up": 4.0}}, "try --training.precision bf16"),
        (
            {"device": {"ldseg computes in": "bf16"}, "convolution": {"conv3d bf16 speed-up": 0.3}},
            "try --training.precision fp32",
        ),
        ({"convolution": {"conv3d fp32 GFLOP/s": 2}}, "try another torch"),
        ({"compile": {"failed": "RuntimeError: no compiler"}}, "no compiler; ldseg does not need it"),
        ({"device": {"unknown": "torch ended the process with signal 4 (SIGILL)"}}, "install torch again"),
    ],
)
def test_what_is_known_to_be_bad_is_said_with_a_remedy(
    changes: dict[str, dict[str, Any]], message: str
) -> None:
    (found,) = known_issues(a_report(**changes))
    assert message in found


def test_without_seconds_nothing_is_measured_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(probing, "_run", start)
    assert probing.probe(0.0) == {step: {"not measured": "--seconds is 0"} for step in probing.STEPS}
