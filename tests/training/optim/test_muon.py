"""Muon: matrices by orthogonal momentum, vectors as AdamW does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldseg.training.optim.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_of_an_update_come_near_one_and_its_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 5, min(shape))
    found = u.T @ orthogonal(u @ values.diag() @ v) @ v.T
    assert float(found.diagonal().min()) > 0.6
    assert float(found.diagonal().max()) < 1.3
    assert float((found - found.diagonal().diag()).abs().max()) < 1e-3


def test_an_update_is_as_large_whatever_the_gradient() -> None:
    sizes: list[float] = []
    for strength in (1e-4, 1e4):
        torch.manual_seed(0)
        layer = nn.Conv2d(8, 16, 3, bias=False)
        before = layer.weight.detach().clone()
        layer.weight.grad = strength * torch.randn_like(layer.weight)
        Muon(layer.parameters(), lr=1e-3, weight_decay=0.0).step()
        sizes.append(float((layer.weight.detach() - before).square().mean().sqrt()))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-2)
    assert 0.5e-4 < sizes[0] < 4e-4


@pytest.mark.parametrize("shape", [(7,), (1, 9), (9, 1, 1)])
def test_vectors_move_as_by_adamw(shape: tuple[int, ...]) -> None:
    start = torch.linspace(-1, 1, 7 if len(shape) == 1 else 9).view(shape)
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([mine], lr=0.01, weight_decay=0.1),
        torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1),
    )
    for _ in range(5):
        for parameter, optimizer in zip((mine, theirs), optimizers, strict=True):
            parameter.grad = parameter.detach().cos()
            optimizer.step()
    torch.testing.assert_close(mine, theirs)


def test_a_parameter_without_gradient_stays() -> None:
    parameter = nn.Parameter(torch.ones(4, 4))
    Muon([parameter], lr=0.1, weight_decay=0.1).step()
    assert bool((parameter == 1).all())
