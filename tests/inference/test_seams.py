"""Where tiles meet, their answers differ little, as those of a deterministic network do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter
from ldseg.settings import SamplingSettings

PATCH, STEPS = 32, 40


def scene(width: int, seed: int) -> tuple[Tensor, Tensor]:
    """A noisy image (1, 32, width) of discs of two kinds, and its labels."""
    draw = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(PATCH), torch.arange(width), indexing="ij")
    labels = torch.zeros(PATCH, width, dtype=torch.long)
    for n in range(width // 8):
        y, x = torch.rand(2, generator=draw) * torch.tensor([PATCH, width])
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 25] = 1 + n % 2
    levels = torch.tensor([-0.7, 0.5, 1.5])
    return (levels[labels] + 0.5 * torch.randn(PATCH, width, generator=draw))[None], labels


def trained(plan: Plan, baseline: Any) -> Predictor:
    """A predictor after a short training on such scenes."""
    settings = replace(PRESETS["default"](plan), baseline=baseline)
    torch.manual_seed(0)
    model = build_segmenter(settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(STEPS):
        x, y = (torch.stack(one) for one in zip(*(scene(PATCH, 8 * step + n) for n in range(8)), strict=True))
        draw = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        model.loss(x, y, draw, settings.loss).total.backward()
        optimizer.step()
    backend = TorchBackend(model.eval().requires_grad_(False), torch.device("cpu"), "fp32")
    return Predictor(plan, settings, backend)


def seam(predictor: Predictor) -> float:
    """Mean difference of the probabilities of neighbouring tiles in their overlap."""
    patch = predictor.plan.patch[1]
    image, sampling = scene(12 * patch, 10_000)[0][:, :patch], predictor.sampling(None, 2)
    found: list[Tensor] = []
    with torch.inference_mode():
        for number in range(22):
            tiles, left = predictor.backend.tiles(sampling, 0, "a", None), number * patch // 2
            x = image[:, :, left : left + patch]
            blocks = tiles.blocks(x, (0, left), range(sampling.samples))
            found.append(torch.cat([block.probabilities for block in blocks]))
    half = patch // 2
    return float(
        torch.stack([(a[..., half:] - b[..., :half]).abs().mean() for a, b in pairwise(found)]).mean()
    )


def test_seams_are_of_the_size_of_the_controls(a_plan: Plan) -> None:
    """Both after the same short training, so that they need their surroundings as much."""
    plan = replace(a_plan, patch=(PATCH, PATCH), strides=((2, 2),) * 3, latent_channels=4, widths=(8, 16, 16))
    of_unet = seam(trained(plan, "unet"))
    assert seam(trained(plan, "none")) < 2 * of_unet
    assert seam(trained(plan, "ssn")) < 2 * of_unet
    assert seam(trained(plan, "probabilistic_unet")) < 2 * of_unet


@pytest.mark.parametrize(
    "baseline, kept",
    [
        ("ssn", ["decoder.head.bias"]),
        ("probabilistic_unet", ["numbers.weight", "mixing.1.weight", "mixing.3.weight"]),
    ],
)
def test_tiles_of_one_sample_have_the_same_random_numbers(
    a_plan: Plan, baseline: Any, kept: Sequence[str]
) -> None:
    """With a network that says the same everywhere, neighboring tiles have equal samples where they
    overlap."""
    settings = replace(PRESETS["default"](a_plan), baseline=baseline)
    model = build_segmenter(settings)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    for name in kept:
        torch.nn.init.normal_(model.get_parameter(name), 0, 10)
    backend = TorchBackend(model.eval().requires_grad_(False), torch.device("cpu"), "fp32")
    sampling, x = SamplingSettings(steps=2, samples=3), torch.zeros(1, *a_plan.patch)
    half = a_plan.patch[1] // 2
    left, right = (
        torch.cat([one.probabilities for one in tiles.blocks(x, (0, corner), range(3))])
        for tiles in [backend.tiles(sampling, 0, "a", None)]
        for corner in (0, half)
    )
    assert torch.equal(left[..., half:], right[..., :half])
    assert not torch.allclose(left[0], left[1], atol=0.1)
