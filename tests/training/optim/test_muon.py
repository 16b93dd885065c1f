"""Muon: matrices by orthogonal momentum, vectors as AdamW does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from counted_operations import META, CountedOperations
from torch import nn

from ldseg.training.optim.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16), (130, 300)])
def test_singular_values_of_an_update_come_near_one_and_its_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 5, min(shape))
    (made,) = orthogonal([(u @ values.diag() @ v)[None]], [1.0])
    found = u.T @ made[0] @ v.T
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


def test_a_matrix_moves_alike_alone_and_beside_others() -> None:
    shapes = [(8, 4, 3, 3), (8, 4, 3, 3), (4, 8, 1, 1), (40, 8), (8,)]
    torch.manual_seed(0)
    start, gradients = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    together, alone = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    optimizers = [Muon(together, 0.1, 0.1), *(Muon([one], 0.1, 0.1) for one in alone)]
    for _ in range(3):
        for parameters in (together, alone):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(together, alone)


def test_more_weights_of_one_shape_need_no_more_operations() -> None:
    def operations(copies: int) -> int:
        layers = nn.ModuleList(nn.Conv2d(8, 4, 3, device=META) for _ in range(copies))
        for weight in layers.to(memory_format=torch.channels_last).parameters():
            weight.grad = torch.empty_like(weight)
        optimizer = Muon(layers.parameters(), 0.1, 0.1)
        optimizer.step()
        with CountedOperations() as counted:
            optimizer.step()
        return counted.calls.total()

    assert 0 < operations(5) == operations(2)


def test_updates_by_recorded_graphs_are_the_same() -> None:
    """Here a recording is the work itself, which leaves its result in the memory of the first."""

    def capture(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        kept = work()
        return lambda: [old.copy_(new) for old, new in zip(kept, work(), strict=True)], kept

    torch.manual_seed(0)
    start = [torch.randn(8, 4, 3, 3), torch.randn(6, 5), torch.randn(3)]
    plain, graphed = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    optimizers = Muon(plain, 0.1, 0.1), Muon(graphed, 0.1, 0.1)
    optimizers[1].capture = capture
    for step in range(4):
        gradients = [torch.randn_like(one) for one in start]
        for parameters, optimizer in zip((plain, graphed), optimizers, strict=True):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            parameters[1].grad = None if step == 2 else parameters[1].grad
            optimizer.step()
    torch.testing.assert_close(plain, graphed)


def test_a_parameter_without_gradient_stays() -> None:
    parameter = nn.Parameter(torch.ones(4, 4))
    Muon([parameter], lr=0.1, weight_decay=0.1).step()
    assert bool((parameter == 1).all())
