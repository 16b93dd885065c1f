"""The baseline without a latent: what it encodes, what its logits mean, what ignored voxels do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ldseg.methods.pixel_diffusion import PixelDiffusion
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS


def build(plan: Plan, preset: str = "default") -> PixelDiffusion:
    torch.manual_seed(0)
    return PixelDiffusion(PRESETS[preset](plan).model).eval()


def test_its_latent_is_the_label_map_itself_on_the_image_grid(plan: Plan) -> None:
    model = build(plan)
    y = torch.randint(0, 3, (2, *plan.patch))
    z0 = model.encode(y)
    assert z0.shape == (2, *model.start_shape(plan.patch)) == (2, 3, *plan.patch)
    assert set(z0.unique().tolist()) == {-1.0, 1.0}
    probabilities = model.reconstruct(y).softmax(1)
    assert torch.equal(probabilities.argmax(1), y)
    assert probabilities.amax(1).min() > 0.99


def test_an_undecided_estimate_is_an_undecided_answer(plan: Plan) -> None:
    model = build(plan)
    conditioning = model.encode_image(torch.zeros(1, len(plan.channels), *plan.patch))
    decoded = model.decode(torch.zeros(1, 3, *plan.patch), conditioning)
    torch.testing.assert_close(decoded.softmax(1), torch.full((1, 3, *plan.patch), 1 / 3))


def test_an_ignored_voxel_speaks_for_no_class_and_costs_nothing(plan: Plan) -> None:
    model = build(plan)
    x = torch.randn(1, len(plan.channels), *plan.patch)
    y = torch.full((1, *plan.patch), -1)
    assert not model.encode(y).any()
    assert model.loss(x, y, settings=PRESETS["default"](plan).loss).parts["latent"] == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_pure_noise_read_as_an_estimate_stays_in_the_range_of_labels(plan: Plan, preset: str) -> None:
    model = build(plan, preset)
    x, y = torch.randn(2, len(plan.channels), *plan.patch), torch.zeros(2, *plan.patch, dtype=torch.long)
    loss = replace(PRESETS[preset](plan).loss, latent=0.0)
    model.settings = replace(model.settings, noise=replace(model.settings.noise, pure_noise_share=1.0))
    assert model.loss(x, y, settings=loss).total < 12
