"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is applied.

All directions of a layer's update get the same length, so that the rarely used ones learn too. Scaled after
Liu et al. 2025 to the update size of AdamW, whose learning rates hold. A convolution is a matrix of outputs
by inputs times taps, which `torch.optim.Muon` does not take. Vectors, single rows and columns take AdamW's
update.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: quintic, steep at 0
_ROUNDS = 5
_UPDATE_SIZE = 0.2  # root mean square of an AdamW update, about
_MOMENTUM = 0.95
_BETAS = (0.9, 0.999)


class Muon(torch.optim.Optimizer):
    """Muon for weights with two rows and columns or more, AdamW for the others."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all parameters that have a gradient."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                rule = _muon if _is_matrix(parameter) else _adam
                parameter.add_(rule(parameter.grad, self.state[parameter]), alpha=-group["lr"])


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 2


def _muon(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"]
    momentum.lerp_(gradient, 1 - _MOMENTUM)
    matrix = gradient.lerp(momentum, _MOMENTUM).flatten(1)
    scale = _UPDATE_SIZE * max(matrix.shape) ** 0.5
    return scale * orthogonal(matrix).view(gradient.shape)


def _adam(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if not state:
        state["step"] = torch.zeros(())
        state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    state["mean"].lerp_(gradient, 1 - _BETAS[0])
    state["square"].lerp_(gradient.square(), 1 - _BETAS[1])
    mean, square = (
        state[name] / (1 - beta ** float(state["step"]))
        for name, beta in zip(("mean", "square"), _BETAS, strict=True)
    )
    return mean / (square.sqrt() + 1e-8)


def orthogonal(matrix: Tensor) -> Tensor:
    """U V^T of a matrix U S V^T, roughly: singular values come near 1, by the iteration of Newton and Schulz.

    Every round multiplies by a polynomial of the Gram matrix; these commute, so that they are gathered on the
    short side and the matrix itself is multiplied only once.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / (x.norm() + 1e-12)
    a, b, c = _POLYNOMIAL
    gram, gathered = x @ x.T, torch.eye(len(x), device=x.device)
    for remaining in reversed(range(_ROUNDS)):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        gathered = polynomial @ gathered
        if remaining:
            gram = polynomial @ gram @ polynomial
    x = gathered @ x
    return (x.T if tall else x).to(matrix.dtype)
