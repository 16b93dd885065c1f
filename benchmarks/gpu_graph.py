"""A training step by CUDA graph; on a CPU the same code without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ldseg.methods.base import Losses
from ldseg.training.graphed_loss import GraphedLoss
from ldseg.training.train_step import TrainStep

WARM_UP = 3


def capture(work: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """Return a function that repeats `work` on the same memory; on a CPU `work` itself."""
    if device.type != "cuda":
        return work
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay


def with_graphs(step: TrainStep) -> GraphedLoss:
    """Let a step take loss and gradient from graphs, and return them."""

    def repeat(work: Callable[[], Losses]) -> tuple[Callable[[], None], Losses]:
        """Repeat the work itself, and leave its gradient where a graph would."""
        losses = work()
        parameters = list(step.model.parameters())
        kept = [parameter.grad for parameter in parameters]

        def replay() -> None:
            work()
            for old, parameter in zip(kept, parameters, strict=True):
                if old is not None and parameter.grad is not None:
                    old.copy_(parameter.grad)

        return replay, losses

    if step.device.type == "cuda":
        step.use_graphs()
        return step.graphs or GraphedLoss(step.model, step.settings, step.device)
    step.graphs = GraphedLoss(step.model, step.settings, step.device, repeat)
    return step.graphs
