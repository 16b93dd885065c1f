"""torch.compile for training: faster on some devices, but needs a compiler."""

from __future__ import annotations

import torch
from torch import nn


def compile_modules(model: nn.Module, device: torch.device) -> str:
    """Let each module of `model` be compiled at its first call; the names of the weights do not change.

    Return the reason if nothing can be compiled on `device`, else "". A single module that cannot be compiled
    runs uncompiled, and torch logs why.
    """
    try:
        trial = torch.compile(lambda x: (x.sin() * x).sum())
        trial(torch.ones(2, device=device, requires_grad=True)).backward()
    except Exception as error:  # a tool chain may raise anything
        reason = " ".join(str(error).split())[:160]
        return f"torch.compile does not work here ({reason}); training without it"
    torch._dynamo.config.suppress_errors = True  # pyright: ignore[reportPrivateUsage]
    for module in model.children():
        module.compile(dynamic=False)
    return ""
