"""A training step by CUDA graph; on a CPU the same code without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ldseg.methods.base import Losses
from ldseg.training.graphed_loss import GraphedLoss
from ldseg.training.train_step import TrainStep
from ldseg.utils import cuda_graph


def capture(work: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """Return a function that repeats `work` on the same memory; on a CPU `work` itself."""
    return cuda_graph.capture(work)[0] if device.type == "cuda" else work


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
