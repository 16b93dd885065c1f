"""Exponential moving average (EMA) of the weights, with warm-up; validation and prediction use it."""

# PyTorch has its functions on lists of tensors under private names only, for its optimizers.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ldseg.methods.base import Segmenter


def make_ema_copy(model: Segmenter) -> Segmenter:
    """Return a copy of the model in evaluation mode that takes no gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def ema_decay(decay: float, step: int) -> float:
    """Return the decay at a step, which grows from 0.1 to `decay` so that early weights fade quickly."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Set average = decay * average + (1 - decay) * model in place; buffers are copied."""
    kept: list[Tensor] = list(average.parameters())
    current: list[Tensor] = list(model.parameters())
    if kept:
        torch._foreach_lerp_(kept, current, 1 - decay)
    kept, current = list(average.buffers()), list(model.buffers())
    if kept:
        torch._foreach_copy_(kept, current)


def update_modules(average: Segmenter, model: Segmenter, decay: float, modules: str) -> None:
    """Update the EMA of all modules, or of the denoiser only with the others copied (paper); of a baseline,
    which has no denoiser, all are copied then."""
    if modules == "all":
        update_ema(average, model, decay)
        return
    for name, module in model.named_children():
        update_ema(getattr(average, name), module, decay if name == "denoiser" else 0.0)
