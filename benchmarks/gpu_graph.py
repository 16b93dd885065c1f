"""A training step whose loss and gradient are one CUDA graph: one start instead of two thousand.

The number of cases that are decoded without the image differs between steps, and with it the work; there is a
graph for each number. Clipping, optimizer and moving average run as they are: their rates change from step to
step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldseg.training.ema import update_modules
from ldseg.training.train_step import TrainStep
from ldseg.utils.device import autocast

WARM_UP = 3


def capture(work: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """Return a function that repeats `work` on the same memory; on a CPU `work` itself."""
    if device.type != "cuda":
        work()
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


class GraphedStep:
    """The step of a `TrainStep` on the memory of one batch."""

    def __init__(self, step: TrainStep, x: Tensor, y: Tensor) -> None:
        self.step, self.x, self.y = step, x, y
        self.parameters = list(step.model.parameters())
        self.graphs: dict[int, tuple[Callable[[], Any], list[Tensor | None]]] = {}
        self.chance = np.random.default_rng(0)
        self.share = step.settings.loss.reconstruction_share if step.settings.baseline == "none" else 0.0
        for number in {self._reconstructed(0.0), self._reconstructed(0.999)}:
            replay = capture(lambda number=number: self.differentiate(number), step.device)
            self.graphs[number] = replay, [parameter.grad for parameter in self.parameters]

    def differentiate(self, reconstructed: int) -> None:
        """Compute loss and gradient with this many reconstructed cases, drawing from default generators."""
        loss = replace(self.step.settings.loss, reconstruction_share=reconstructed / len(self.x))
        for parameter in self.parameters:
            parameter.grad = None
        with autocast(self.step.device, self.step.settings.training.precision):
            losses = self.step.model.loss(self.x, self.y, None, loss)
        losses.total.backward()

    def replay(self, reconstructed: int) -> None:
        """Compute them by the graph."""
        run, gradients = self.graphs[reconstructed]
        run()
        if self.step.device.type != "cuda":
            return
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def run(self) -> None:
        """Take a step."""
        self.replay(self._reconstructed(self.chance.random()))
        training = self.step.settings.training
        nn.utils.clip_grad_norm_(self.parameters, training.gradient_clip)
        self.step.optimizer.step()
        update_modules(self.step.average, self.step.model, 0.999, training.ema_modules)

    def _reconstructed(self, chance: float) -> int:
        return math.floor(self.share * len(self.x) + chance)
