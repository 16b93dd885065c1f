"""Work on a GPU that is recorded once and then started as a whole (CUDA graphs).

A host that starts kernel after kernel takes some microseconds for each; where the kernels are small, the GPU
waits for it. A graph runs on the same memory each time: inputs are copied to where they were, and results are
found where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

Result = TypeVar("Result")

_WARM_UP = 3  # runs before recording, in which algorithms are chosen and memory is found


class Capture(Protocol):
    """A function like `capture`."""

    def __call__(self, work: Callable[[], Result]) -> tuple[Callable[[], None], Result]: ...


def capture(work: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
    """Return a function that repeats `work`, and the result in whose memory it leaves its own.

    `work` is run a few times before, and waits for nothing.
    """
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # What another thread does at that time, as that which pins a data loader's memory, spoils nothing.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result
