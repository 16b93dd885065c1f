"""Cores and memory are those that machine, container and process limits grant; freed memory can be kept."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ldseg.planning.settings import PlanSettings
from ldseg.utils import system
from ldseg.utils.system import (
    available_memory,
    container_memory_limit,
    granted_memory,
    keep_freed_memory,
    resident_memory,
    total_memory,
    usable_cores,
)

MEGABYTES = 256
SCRIPT = f"""
import sys
import torch
from ldseg.utils.system import keep_freed_memory, resident_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident_memory()
held = torch.ones({MEGABYTES} * 2**18)
del held
print((resident_memory() - before) // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize(("asked", "kept"), [("keep", True), ("leave", False)])
def test_a_freed_tensor_stays_with_the_process_if_asked_to(asked: str, kept: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, check=True)
    assert (int(ran.stdout) > MEGABYTES // 2) is kept


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is read as the container's baseline group."""
    monkeypatch.setattr(system, "_CGROUP", tmp_path)
    return tmp_path


def test_the_memory_of_this_process_is_known() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 2**28) as held:  # not by malloc, which may have it already
        held.write(b"x" * len(held))
        assert resident_memory() - before > 0.9 * len(held)


def test_without_a_container_the_machine_is_the_limit(container: Path) -> None:
    assert container_memory_limit() is None
    assert 0 < available_memory() <= total_memory() == granted_memory()
    assert usable_cores() >= 1
    (container / "memory.max").write_text("max\n")
    (container / "cpu.max").write_text("max 100000\n")
    assert container_memory_limit() is None
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_a_container_limits_memory_and_cores(container: Path) -> None:
    (container / "memory.max").write_text("1000000\n")
    (container / "memory.current").write_text("400000\n")
    (container / "cpu.max").write_text("40000 100000\n")
    assert (container_memory_limit(), available_memory(), usable_cores()) == (1000000, 600000, 1)
    assert granted_memory() == 1000000


def test_the_first_version_of_control_groups_is_read_too(container: Path) -> None:
    (container / "memory").mkdir()
    limit = container / "memory" / "memory.limit_in_bytes"
    limit.write_text(f"{2**63 - 4096}\n")
    assert container_memory_limit() is None
    limit.write_text("2000000\n")
    (container / "memory" / "memory.usage_in_bytes").write_text("500000\n")
    assert (container_memory_limit(), available_memory()) == (2000000, 1500000)


def test_planning_keeps_to_what_the_container_grants(container: Path) -> None:
    (container / "memory.max").write_text("2000000000\n")
    assert PlanSettings().budget_gb() == pytest.approx(1.2)
