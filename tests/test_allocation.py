"""Freed memory stays with the process: asking again does not fault it in page by page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from ldseg.allocation import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(40):
    torch.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(20_000_000)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **environment: str) -> tuple[bool, int]:
    words = [sys.executable, "-c", SCRIPT, mode]
    environment = {key: value for key, value in os.environ.items() if "MALLOC" not in key} | environment
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    kept, count = done.stdout.split()
    return kept == "1", int(count)


def test_memory_that_is_kept_is_not_cleared_again() -> None:
    kept, count = faults("keep")
    if not kept:
        pytest.skip("not glibc")
    assert count < faults("leave")[1] / 10


def test_what_the_environment_says_stays() -> None:
    assert not faults("keep", MALLOC_MMAP_MAX_="65536")[0]
