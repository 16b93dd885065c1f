"""One training step: loss, gradient, optimizer and moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ldseg.errors import InputError
from ldseg.methods.base import Losses, Segmenter
from ldseg.settings import RunSettings, TrainingSettings
from ldseg.training.budget import Budget
from ldseg.training.ema import ema_decay, update_modules
from ldseg.training.flatness import COOL_DOWN
from ldseg.training.gradient_averaging import average_gradients
from ldseg.training.graphed_loss import GraphedLoss
from ldseg.training.optim.muon import Muon
from ldseg.utils.cuda_graph import Capture, capture
from ldseg.utils.device import autocast, memory_format
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext

_FINAL_RATE = 0.01  # fraction of the learning rate at the end of the cosine
_PAPER_EPSILON = 1e-7
_SEED_STRIDE = 2**48  # between the seeds of two ranks; more than the steps of any training


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name: Muon, AdamW, or Adam with the paper's epsilon."""
    parameters = list(model.parameters())
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        return Muon(parameters, lr=rate, weight_decay=decay)
    adam = partial(torch.optim.Adam, eps=_PAPER_EPSILON)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else adam
    on_gpu = parameters[0].device.type == "cuda"  # there one operation updates all parameters
    return kind(parameters, lr=rate, weight_decay=decay, fused=on_gpu)


def learning_rate(settings: TrainingSettings, step: int, progress: float) -> float:
    """Return the learning rate at a step of a budget, of which the fraction `progress` is used: linear
    warm-up, then half a cosine over the budget, or constant. With `until_flat` it is constant until
    validation is flat, and falls linearly from then on.

    A continued training begins both again, its optimizer's state being kept (warm restarts, Loshchilov and
    Hutter 2017).
    """
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    if settings.lr_schedule == "constant":
        return settings.learning_rate * warm
    if settings.until_flat:
        return settings.learning_rate * warm * min(1.0, max(_FINAL_RATE, (1 - progress) / COOL_DOWN))
    return settings.learning_rate * warm * max(_FINAL_RATE, 0.5 * (1 + math.cos(math.pi * progress)))


def refuse_divergence(losses: Mapping[str, float], step: int, folder: Path) -> None:
    """Raise InputError if a loss of this step is not finite: the weights then never are again."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise InputError(
                f"{folder}: at step {step} the {name} loss is {value}: the training has diverged; train anew "
                "in another folder, with a smaller --training.learning_rate"
            )


@dataclass
class TrainStep:
    """Trains a model on one device: holds the model, its moving average and its optimizer."""

    model: Segmenter
    average: Segmenter
    optimizer: torch.optim.Optimizer
    settings: RunSettings
    device: torch.device
    context: DistributedContext = SINGLE_PROCESS
    graphs: GraphedLoss | None = None
    """Loss and gradient as CUDA graphs, None to compute them kernel by kernel."""

    def run(self, x: Tensor, y: Tensor, budget: Budget) -> Losses:
        """Update the weights by this process's cases x (B, M, *S), y (B, *S) and return the losses.

        All randomness comes from (seed, step, rank), so that a resumed run repeats it.
        """
        training = self.settings.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, budget.step - budget.first_step, budget.progress())
        x, y = (one.to(self.device, non_blocking=True) for one in (x, y))
        x = x.contiguous(memory_format=memory_format(self.settings.model.spatial_dims))
        losses = self.differentiate(x, y, budget.step)
        average_gradients(self.model, len(x) / (training.batch or len(x)), self.context)
        if training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        self.optimizer.step()
        decay = ema_decay(training.ema, budget.step) if training.ema_warmup else training.ema
        update_modules(self.average, self.model, decay, training.ema_modules)
        return losses

    def use_graphs(self, capture: Capture = capture) -> None:
        """Start loss and gradient, and the updates of Muon's matrices, as CUDA graphs from now on."""
        self.graphs = GraphedLoss(self.model, self.settings, self.device, capture)
        if isinstance(self.optimizer, Muon):
            self.optimizer.capture = capture

    def differentiate(self, x: Tensor, y: Tensor, step: int) -> Losses:
        """Return the losses of a batch on the device and leave their gradient in the parameters."""
        if self.graphs is not None:
            return self.graphs(x, y, self._seed(step))
        with autocast(self.device, self.settings.training.precision):
            losses = self.model.loss(x, y, self._generator(step), self.settings.loss)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        return losses

    def _seed(self, step: int) -> int:
        """Return the seed of a step in this process."""
        return (self.settings.training.seed * 1_000_003 + step + self.context.rank * _SEED_STRIDE) % 2**63

    def _generator(self, step: int) -> torch.Generator:
        """Return the generator of times and noise for a step, and seed dropout, which takes no generator."""
        seed = self._seed(step)
        torch.manual_seed(seed)
        return torch.Generator(self.device).manual_seed(seed)
