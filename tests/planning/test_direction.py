"""Whether the pictures of a set have a top and a bottom."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from planning_sets import fingerprint

from ldseg.data.volume import Volume
from ldseg.planning.direction import Asymmetry, Direction, asymmetry_of, direction_of
from ldseg.planning.heuristics import plan_mirror_axes

SHAPE = (40, 30)


def picture(values: NDArray[np.generic]) -> Volume:
    return Volume(values[None], (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "image")


def fading_downwards(seed: int, turned: bool) -> Asymmetry:
    """A noisy picture that fades downwards, or upwards, with an object where it is bright."""
    rng = np.random.default_rng(seed)
    image = np.linspace(1, 0, SHAPE[0])[:, None] + rng.normal(0, 0.3, SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:15, rng.integers(0, 10) : rng.integers(15, 30)] = 1
    if turned:
        image, labels = image[::-1].copy(), labels[::-1].copy()
    return asymmetry_of(picture(image), [picture(labels)], [1])


def direction(turned: list[bool]) -> Direction | None:
    return direction_of({f"s{n}": [fading_downwards(n, one)] for n, one in enumerate(turned)})


def test_pictures_that_all_fade_downwards_have_a_direction() -> None:
    found = direction([False] * 12)

    assert found is not None
    assert found.resemblance > 0.8
    assert not found.absent


def test_pictures_of_which_half_are_turned_have_none() -> None:
    found = direction([False, True] * 10)

    assert found is not None
    assert found.absent


def test_a_direction_of_the_structures_alone_is_one() -> None:
    def hidden(seed: int) -> Asymmetry:
        noise = picture(np.random.default_rng(seed).normal(size=SHAPE))
        return replace(fading_downwards(seed, False), image=asymmetry_of(noise, [noise], [1]).image)

    found = direction_of({f"s{n}": [hidden(n)] for n in range(12)})

    assert found is not None
    assert not found.absent


def test_few_subjects_say_nothing_whatever_the_number_of_their_cases() -> None:
    assert direction_of({f"s{n}": [fading_downwards(n, False)] * 5 for n in range(7)}) is None


def test_a_picture_that_is_its_own_mirror_image_has_no_asymmetry() -> None:
    half = np.random.default_rng(0).normal(size=(3, 5))
    found = asymmetry_of(picture(np.concatenate([half, half[::-1]])), [picture(np.ones((6, 5)))], [1])

    np.testing.assert_allclose(found.image, 0, atol=1e-12)


def test_both_axes_are_mirrored_where_there_is_no_direction() -> None:
    pictures = fingerprint(axes="yx", shapes=((64, 64),), spacing=(1.0, 1.0))

    assert plan_mirror_axes(replace(pictures, direction=Direction(0.05, 0.2))) == (0, 1)
    assert plan_mirror_axes(replace(pictures, direction=Direction(0.05, 0.5))) == (1,)
    assert plan_mirror_axes(replace(pictures, direction=Direction(0.3, 0.35))) == (1,)


def test_above_and_below_are_not_exchanged_where_a_structure_has_a_height() -> None:
    pictures = fingerprint(axes="yx", shapes=((64, 64),), spacing=(1.0, 1.0))
    for name in ("upper lip", "LowerJaw", "vena cava inferior"):
        named = replace(pictures, classes=(replace(pictures.classes[0], name=name),))
        assert plan_mirror_axes(replace(named, direction=Direction(0.0, 0.1))) == (1,)


def test_nothing_is_mirrored_where_a_structure_has_a_side() -> None:
    pictures = fingerprint(axes="yx", shapes=((64, 64),), spacing=(1.0, 1.0))
    sided = replace(pictures.classes[0], name="left lung")

    assert plan_mirror_axes(replace(pictures, classes=(sided,), direction=Direction(0.0, 0.1))) == ()
