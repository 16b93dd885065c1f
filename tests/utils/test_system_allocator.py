"""Memory that was freed stays with the process where that is asked for, and only there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ldseg.utils.system import keep_freed_memory

MEGABYTES = 256
SCRIPT = f"""
import sys
import torch
from ldseg.utils.system import keep_freed_memory
from ldseg.inference.fit_to_memory import resident_bytes

if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident_bytes()
held = torch.ones({MEGABYTES} * 2**18)
del held
print((resident_bytes() - before) // 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize(("asked", "kept"), [("keep", True), ("leave", False)])
def test_a_freed_tensor_stays_with_the_process_if_asked_to(asked: str, kept: bool) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, check=True)
    assert (int(ran.stdout) > MEGABYTES // 2) is kept


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
