"""Augmentation: what it may do along time, and that intensities change where they should."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from preprocessing_grids import plan
from torch import Tensor

from ldseg.preprocessing.augment import AUGMENTATIONS, make_augment
from ldseg.settings import AugmentSettings

STILL = AugmentSettings(
    affine_probability=0.0,
    intensity_probability=0.0,
    gamma_probability=0.0,
    noise_probability=0.0,
    blur_probability=0.0,
    low_resolution_probability=0.0,
    mirror=False,
)
"""Nothing happens."""


def augmented(
    axes: str, spacing: tuple[float, ...], image: Tensor, settings: AugmentSettings, seed: int = 0
) -> Tensor:
    labels = torch.zeros(image.shape[1:], dtype=torch.long)
    return make_augment(plan(axes, spacing=spacing), settings)(image, labels, seed)[0]


def noise(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))


def test_with_all_probabilities_zero_nothing_changes() -> None:
    image = noise(16, 16)
    torch.testing.assert_close(augmented("yx", (1.0, 1.0), image, STILL), image)


def test_blur_keeps_the_frames_of_a_film_apart() -> None:
    image = torch.zeros(1, 16, 16, 16)
    image[0, 8] = noise(16, 16)[0]
    found = augmented("tyx", (1.0, 1.0, 1.0), image, replace(STILL, blur_probability=1.0))
    assert found[0, 8].std() < image[0, 8].std()
    assert found[0, [7, 9]].abs().max() == 0


def test_blur_has_one_width_in_mm() -> None:
    image = torch.zeros(1, 16, 16, 16)
    image[0, 8, 8, 8] = 1.0
    found = augmented("zyx", (8.0, 1.0, 1.0), image, replace(STILL, blur_probability=1.0))
    assert found[0, 9, 8, 8] < 0.1 * found[0, 8, 9, 8]


def test_a_coarse_image_varies_less() -> None:
    image = noise(16, 16, 16)
    always = replace(STILL, low_resolution_probability=1.0)
    found = [augmented("zyx", (1.0, 1.0, 1.0), image, always, seed) for seed in range(6)]
    assert {one.shape for one in found} == {image.shape}
    assert min(one.std() for one in found) < 0.9 * image.std()


@pytest.mark.parametrize(("axes", "spacing"), [("tyx", (1.0, 1.0, 1.0)), ("zyx", (5.0, 1.0, 1.0))])
def test_uneven_axes_are_not_made_coarse(axes: str, spacing: tuple[float, ...]) -> None:
    image = noise(16, 16, 16)
    found = augmented(axes, spacing, image, replace(STILL, low_resolution_probability=1.0))
    torch.testing.assert_close(found, image)


def test_a_film_with_unlabelled_frames_begins_anywhere_and_keeps_its_labels() -> None:
    still = make_augment(plan("tyx"), STILL)
    image = torch.arange(8.0)[:, None, None].expand(8, 16, 16)[None].contiguous()
    labels = torch.full((8, 16, 16), -1)
    labels[3] = 1
    begun: set[int] = set()
    for seed in range(40):
        moved, said = still(image, labels, seed)
        (frame,) = (said >= 0).flatten(1).all(1).nonzero().flatten().tolist()
        assert float(moved[0, frame].mean()) == pytest.approx(3)
        begun.add(frame)
    assert len(begun) > 5
    whole = torch.zeros(8, 16, 16, dtype=torch.long)
    assert all(torch.equal(still(image, whole, seed)[0], image) for seed in range(5))


def test_elastic_deformation_moves_image_and_labels_alike() -> None:
    labels = torch.zeros(24, 24, 24, dtype=torch.long)
    labels[8:20, 8:20, 8:20] = 1
    deform = make_augment(plan("zyx", spacing=(1.0, 1.0, 1.0)), replace(STILL, elastic_probability=1.0))
    image, moved = deform(labels[None].float(), labels, 0)
    assert not torch.equal(moved[moved >= 0], labels[moved >= 0])
    alike = (image[0] > 0.5) == (moved == 1)  # but for corners, where one of the two is interpolated
    assert alike[moved >= 0].float().mean() > 0.99
    assert ((labels == 1) == (moved == 1))[moved >= 0].float().mean() < 0.99


def test_flipped_axes_may_be_others_than_the_plans() -> None:
    image = noise(16, 16)
    both = replace(STILL, mirror=True, mirror_axes=(0, 1))
    found = [augmented("yx", (1.0, 1.0), image, both, seed) for seed in range(40)]
    for axes in ((), (1,), (2,), (1, 2)):
        assert any(torch.equal(one, image.flip(axes) if axes else image) for one in found)
    assert torch.equal(augmented("yx", (1.0, 1.0), image, replace(both, mirror_axes=())), image)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize(("axes", "shape"), [("yx", (15, 17)), ("zyx", (7, 9, 11)), ("tyx", (5, 9, 11))])
def test_every_augmentation_repeats_with_its_seed_and_keeps_the_grid(
    name: str, axes: str, shape: tuple[int, ...]
) -> None:
    every = {field.name: 1.0 for field in fields(AugmentSettings) if field.name.endswith("_probability")}
    settings = replace(AugmentSettings(), pipeline=(name,), **every)
    augment = make_augment(plan(axes, spacing=(1.0,) * len(axes)), settings)
    labels = torch.ones(shape, dtype=torch.long)
    first, again = (augment(noise(*shape), labels, 5) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert first[0].shape == (1, *shape)
    assert set(first[1].unique().tolist()) <= {-1, 1}


def test_only_the_named_augmentations_are_applied_and_unknown_ones_refused() -> None:
    image = noise(16, 16)
    settings = replace(AugmentSettings(), pipeline=("blur",), blur_probability=0.0)
    torch.testing.assert_close(augmented("yx", (1.0, 1.0), image, settings), image)
    with pytest.raises(ValueError, match=r"augment.pipeline is 'cutout'; choose one of mirror"):
        augmented("yx", (1.0, 1.0), image, replace(settings, pipeline=("cutout",)))
