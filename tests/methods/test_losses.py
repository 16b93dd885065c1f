"""Every term of the segmentation loss, in 2D and 3D."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ldseg.methods.losses import LOSS_TERMS, segmentation_loss
from ldseg.settings import LossSettings
from ldseg.utils import registry
from ldseg.utils.registry import admit

TERMS = pytest.mark.parametrize("name", LOSS_TERMS)
SHAPES = pytest.mark.parametrize("shape", [(15, 17), (7, 9, 11)], ids=["2d", "3d"])


def square(shape: tuple[int, ...], ids: tuple[int, ...] = (1, 2)) -> Tensor:
    """Return labels (2, *S) with a structure in the middle of each case."""
    y = torch.zeros(2, *shape, dtype=torch.long)
    middle = tuple(slice(n // 4, -(n // 4)) for n in shape)
    for case, value in enumerate(ids):
        y[(case, *middle)] = value
    return y


def logits_of(y: Tensor, certainty: float = 10.0) -> Tensor:
    return certainty * torch.stack([y == k for k in range(3)], 1).float()


@TERMS
@SHAPES
def test_a_better_segmentation_costs_less_and_a_perfect_one_nothing(
    name: str, shape: tuple[int, ...]
) -> None:
    term, y = LOSS_TERMS[name], square(shape)
    noise = torch.randn(logits_of(y).shape, generator=torch.Generator().manual_seed(0))
    perfect, good, bad = (term(logits_of(y, c) + n * noise, y) for c, n in ((30.0, 0), (3.0, 1), (1.0, 2)))
    assert perfect == pytest.approx(0, abs=0.02)
    assert perfect < good < bad


@TERMS
@SHAPES
def test_logits_get_a_finite_gradient_with_and_without_labels(name: str, shape: tuple[int, ...]) -> None:
    for y in (square(shape), torch.zeros(2, *shape, dtype=torch.long), torch.full((2, *shape), -1)):
        logits = torch.zeros(2, 3, *shape, requires_grad=True)
        LOSS_TERMS[name](logits, y).backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@TERMS
@SHAPES
def test_ignored_voxels_cost_nothing(name: str, shape: tuple[int, ...]) -> None:
    y = square(shape)
    y[:, :3] = -1
    logits = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[:, :, :3] = -logits[:, :, :3]
    assert LOSS_TERMS[name](logits, y) == LOSS_TERMS[name](changed, y)


def test_tversky_forgives_a_false_voxel_rather_than_a_missed_one() -> None:
    y = square((16, 16), (1, 1))
    larger, smaller = torch.zeros_like(y), torch.zeros_like(y)
    larger[:, 3:13, 3:13], smaller[:, 5:11, 5:11] = 1, 1
    costs = [LOSS_TERMS["tversky"](logits_of(one), y) for one in (larger, smaller)]
    assert costs[0] < costs[1]


def test_the_boundary_term_sees_a_shift_that_dice_hardly_sees() -> None:
    y = torch.zeros(1, 64, 64, dtype=torch.long)
    y[:, 8:56, 8:56] = 1
    shifted = logits_of(y.roll(4, 1))
    found = {name: LOSS_TERMS[name](shifted, y).item() for name in ("dice", "boundary")}
    missing_class = LOSS_TERMS["dice"](logits_of(y), y).item()
    assert found["boundary"] > 2 * (found["dice"] - missing_class)


def test_the_segmentation_loss_is_the_weighted_sum_of_its_terms() -> None:
    y = square((16, 16))
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    settings = LossSettings(cross_entropy=0.0, dice=2.0, terms={"boundary": 0.5})
    expected = 2 * LOSS_TERMS["dice"](logits, y) + 0.5 * LOSS_TERMS["boundary"](logits, y)
    torch.testing.assert_close(segmentation_loss(logits, y, settings), expected)


def test_an_admitted_term_from_outside_is_named_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_terms.py").write_text("def brightness(logits, y):\n    return logits.mean()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_terms", raising=False)
    monkeypatch.setattr(registry, "_admitted", {})
    admit("my_terms:brightness", True, "settings")
    logits, y = torch.full((1, 2, 4, 4), 3.0), torch.zeros(1, 4, 4, dtype=torch.long)
    settings = LossSettings(cross_entropy=0.0, dice=0.0, terms={"my_terms:brightness": 2.0})
    assert segmentation_loss(logits, y, settings) == 6


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"terms": {"dice": 1.0}}, "loss.terms is dice; give these weights as loss.NAME"),
        ({"cross_entropy": 0.0, "dice": 0.0}, "choose weights of 0 or more for the terms, and one above 0"),
        ({"dice": -1.0}, "choose weights of 0 or more"),
    ],
)
def test_weights_that_make_no_loss_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossSettings(**weights)  # type: ignore[arg-type]
