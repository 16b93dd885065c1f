"""torch.compile for training: pays on some devices, needs a compiler that is not everywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def compile_modules(model: nn.Module, device: torch.device) -> str:
    """Compile each module of `model` in place at its first call, names of the weights unchanged.

    Returns why nothing can be compiled on `device`; then all stays as it was. A module that fails by itself
    runs as it is, and torch logs why.
    """
    try:
        torch.compile(_trial)(torch.ones(2, device=device, requires_grad=True)).backward()
    except Exception as error:  # whatever a tool chain can come up with
        reason = " ".join(str(error).split())[:160]
        return f"torch.compile does not work here ({reason}); training without it"
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage]
    for module in model.children():
        module.compile(dynamic=False)
    return ""


def _trial(x: Tensor) -> Tensor:
    return (x.sin() * x).sum()
