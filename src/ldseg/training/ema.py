"""Exponential moving average of the weights, with warm-up: what validation and prediction use."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ldseg.methods.base import Segmenter


def copy_for_average(model: Segmenter) -> Segmenter:
    """A copy in evaluation mode that takes no gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def warm_decay(decay: float, step: int) -> float:
    """Decay at a step: grows from 0.1 to `decay`, so that the first weights are soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * model, in place; buffers are copied."""
    for kept, current in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(current, 1 - decay)
    for kept, current in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(current)


def follow(average: Segmenter, model: Segmenter, decay: float, modules: str) -> None:
    """Average all modules, or (paper) the denoiser alone, with the others copied."""
    if modules == "all" or not hasattr(model, "denoiser"):
        update_average(average, model, decay)
        return
    for name, module in model.named_children():
        update_average(getattr(average, name), module, decay if name == "denoiser" else 0.0)
