"""Noise depends on seed, case, sample, step and place alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ldseg.inference.case_noise import CaseNoise, NoiseField

FIELD = NoiseField(seed=0, name="a", sample=0, channels=2)


@pytest.mark.parametrize(
    "corner, shape",
    [((0, 0), (5, 7)), ((60, 3), (9, 130)), ((5, 14, 30), (17, 3, 20)), ((16, 0, 32), (16, 16, 1))],
)
def test_a_tile_is_a_window_of_one_endless_field(corner: tuple[int, ...], shape: tuple[int, ...]) -> None:
    whole = FIELD.read(3, (0,) * len(shape), tuple(c + n for c, n in zip(corner, shape, strict=True)))
    window = tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))
    assert torch.equal(FIELD.read(3, corner, shape), whole[(slice(None), *window)])


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "b"}, {"sample": 1}])
def test_another_seed_case_or_sample_has_other_noise(change: dict[str, object]) -> None:
    here, there = FIELD.read(0, (0, 0), (20, 20)), replace(FIELD, **change).read(0, (0, 0), (20, 20))
    assert abs(float(torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1])) < 0.15


def test_every_step_draws_anew() -> None:
    assert not torch.equal(FIELD.read(0, (0, 0), (4, 4)), FIELD.read(1, (0, 0), (4, 4)))


def test_it_is_standard_normal_and_blocks_differ() -> None:
    values = FIELD.read(0, (0, 0, 0), (48, 48, 48))
    assert abs(float(values.mean())) < 0.01
    assert abs(float(values.std()) - 1) < 0.01
    assert not torch.equal(values[:, :16, :16, :16], values[:, 16:32, :16, :16])


def test_the_numbers_stay_those_of_today() -> None:
    """A result of last year must come out again; change this only with a word in the changelog."""
    start = NoiseField(seed=7, name="case", sample=1, channels=1).read(0, (0, 0), (1, 3))
    assert start.flatten().tolist() == pytest.approx([1.239366, 1.984472, 0.475435], abs=1e-5)


def test_a_global_channel_has_one_value_for_the_whole_image() -> None:
    noise = CaseNoise(0, "a", channels=3, factor=(4, 4), global_channels=2)
    here, there = (noise.read(0, corner, (32, 16), range(3)) for corner in ((0, 0), (512, 40)))
    assert torch.equal(here[:, :2, :1, :1].expand(-1, -1, 8, 4), here[:, :2])
    assert torch.equal(here[:, :2], there[:, :2])
    assert len(here[:, :2].unique()) == 6
    plain = replace(noise, global_channels=0).read(0, (0, 0), (32, 16), range(3))
    assert torch.equal(here[:, 2], plain[:, 2])


def test_no_channels_give_no_noise() -> None:
    assert NoiseField(0, "a", 0, 0).read(0, (0, 0), (4, 4)).shape == (0, 4, 4)
