"""Gradient checkpointing changes what is kept, not what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from training_setup import Setup

from ldseg.networks.blocks import ResidualBlock
from ldseg.presets import PRESETS
from ldseg.training.activation_checkpointing import checkpoint_residual_blocks


def make_block() -> nn.Module:
    torch.manual_seed(0)
    block = ResidualBlock(2, 4, 8, dropout=0.0, time_channels=3)
    nn.init.normal_(block.conv2.weight)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(block)


def went_through(model: nn.Module) -> tuple[list[Tensor], int]:
    """Gradients, and how many tensors were kept for them."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x, shift = torch.linspace(-1, 1, 2 * 4 * 36).reshape(2, 4, 6, 6), torch.ones(2, 8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model[0](x, shift).square().mean()  # pyright: ignore[reportIndexIssue]
    inside = len(kept)
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None], inside


def test_gradients_are_those_of_all_that_would_have_been_kept() -> None:
    whole, sparing = make_block(), make_block()
    assert checkpoint_residual_blocks(sparing) == ""
    (expected, all_kept), (found, few_kept) = went_through(whole), went_through(sparing)
    assert few_kept < all_kept
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)
    assert list(whole.state_dict()) == list(sparing.state_dict())


def test_networks_without_such_blocks_are_said(setup: Setup, tmp_path: Path) -> None:
    settings = PRESETS["paper"](setup.plan)
    events: list[dict[str, Any]] = []
    paper = replace(setup, settings=settings)
    paper.run(tmp_path, on_event=events.append, steps=1, validations=0, activation_checkpointing=True)
    (warned,) = [one for one in events if one["event"] == "warning"]
    assert "activation_checkpointing changes nothing" in warned["warnings"][0]
