"""Self-attention reaches every place of a grid, however large, at a bounded cost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ldseg.networks.blocks import SelfAttention

GRIDS = [(5, 7), (37, 20), (4, 5, 6), (17, 16, 18)]


def attention(grid: tuple[int, ...]) -> tuple[SelfAttention, Tensor]:
    """Attention that adds something, and features of a grid."""
    torch.manual_seed(0)
    layer = SelfAttention(32)
    torch.nn.init.normal_(layer.get_parameter("proj.weight"))
    return layer, torch.randn(2, 32, *grid)


@pytest.mark.parametrize("grid", GRIDS)
def test_it_adds_nothing_at_first(grid: tuple[int, ...]) -> None:
    h = torch.randn(2, 32, *grid)
    assert torch.equal(SelfAttention(32)(h), h)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_last_place_depends_on_the_first(grid: tuple[int, ...]) -> None:
    layer, h = attention(grid)
    h.requires_grad_()
    last = (..., *(-1 for _ in grid))
    layer(h)[last].sum().backward()
    assert h.grad is not None
    assert h.grad[(slice(None), slice(None), *(0 for _ in grid))].abs().min() > 0


@pytest.mark.parametrize("grid", GRIDS)
def test_cases_do_not_mix(grid: tuple[int, ...]) -> None:
    layer, h = attention(grid)
    torch.testing.assert_close(layer(h)[1:], layer(h[1:]))


def test_a_grid_of_equal_blocks_gets_what_the_grid_of_these_blocks_gets() -> None:
    layer, coarse = attention((16, 16))
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    added = functional.interpolate(layer(coarse) - coarse, scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(layer(fine) - fine, added)


@pytest.mark.parametrize(("grid", "places"), [((37, 20), 13 * 10), ((17, 16, 18), 6 * 8 * 6)])
def test_no_more_places_attend_to_each_other_than_the_limit(grid: tuple[int, ...], places: int) -> None:
    layer, h = attention(grid)
    seen: list[int] = []
    layer.qkv.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    layer(h)
    assert seen == [places]


@pytest.mark.parametrize("grid", [(13, 13), (12, 12, 12), (20, 12, 12)])
def test_all_places_of_the_coarsest_grid_of_a_plan_attend_to_each_other(grid: tuple[int, ...]) -> None:
    """As they did when models were trained: weights mean the same."""
    layer, h = attention(grid)
    seen: list[int] = []
    layer.qkv.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    layer(h)
    assert seen == [math.prod(grid)]


def test_any_width_has_equal_heads() -> None:
    assert [SelfAttention(width).heads for width in (8, 32, 80, 96, 110, 192)] == [1, 1, 2, 3, 2, 6]
    assert SelfAttention(110)(torch.zeros(1, 110, 2, 2)).shape == (1, 110, 2, 2)
