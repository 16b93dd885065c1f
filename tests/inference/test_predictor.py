"""Predictions lie on the image's grid and depend on image, model, name and seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from predicting import image, loaded, same
from torch import Tensor, nn

from ldseg.data.volume import Volume
from ldseg.diffusion.samplers import SAMPLERS
from ldseg.errors import InputError
from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.backends.torch_backend import ChunkSizes, TorchBackend
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan, write_plan
from ldseg.runs.saved_model import read_settings, write_settings

MakeModel = Callable[..., Path]


def counted(module: nn.Module) -> list[int]:
    """Batch sizes of the calls of `module`, appended as they come."""
    calls: list[int] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...], __: object) -> None:
        calls.append(inputs[0].shape[0])

    module.register_forward_hook(note)
    return calls


@pytest.mark.parametrize("baseline", ["none", "unet", "pixel_diffusion", "ssn", "probabilistic_unet"])
@pytest.mark.parametrize(
    "axes, shape",
    [("yx", (16, 16)), ("yx", (7, 41)), ("zyx", (9, 16, 5)), ("zyx", (17, 19, 30)), ("tyx", (3, 20, 16))],
)
def test_any_size_gives_probabilities_on_the_images_own_grid(
    make_model: MakeModel, baseline: str, axes: str, shape: tuple[int, ...]
) -> None:
    volume = image(axes, shape)
    found = loaded(make_model(axes, baseline))(volume, samples=3, keep_samples=True)
    assert found.probabilities.array.shape == (3, *shape)
    np.testing.assert_allclose(found.probabilities.array.sum(0), 1, atol=1e-5)
    for result in (found.labels, found.uncertainty, found.disagreement, *found.samples):
        assert result.array.shape == (1, *shape)
        assert (result.spacing, result.origin, result.direction) == (
            volume.spacing,
            volume.origin,
            volume.direction,
        )
    ids = np.array([0, 2, 5])
    np.testing.assert_array_equal(found.labels.array[0], ids[found.probabilities.array.argmax(0)])
    assert np.all(found.disagreement.array <= found.uncertainty.array + 1e-6)
    assert found.uncertainty.array.max() <= np.log(3) + 1e-5
    assert list(found.volumes) == ["left", "right"]


def test_another_grid_is_undone(make_model: MakeModel) -> None:
    """Twice the spacing, axes turned and flipped: the answer is still on the file's grid."""
    volume = replace(
        image("zyx", (8, 9, 10)),
        spacing=(2.0, 1.5, 1.0),
        direction=(0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
    )
    found = loaded(make_model("zyx"))(volume)
    assert found.labels.array.shape == (1, 8, 9, 10)
    assert found.labels.direction == volume.direction


def test_a_case_does_not_depend_on_the_cases_before_it(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model()), image("yx", (20, 30))
    alone = predictor(volume, "a", samples=2)
    predictor(image("yx", (18, 16), seed=1), "b", samples=5)
    assert same(predictor(volume, "a", samples=2), alone)
    assert same(loaded(make_model())(volume, "a", samples=2), alone)


@pytest.mark.parametrize("baseline", ["none", "pixel_diffusion", "ssn", "probabilistic_unet"])
@pytest.mark.parametrize("samples", [1, 3])
def test_seed_and_name_choose_the_noise_of_samples(
    make_model: MakeModel, baseline: str, samples: int
) -> None:
    predictor, volume = loaded(make_model(baseline=baseline)), image("yx", (20, 30))
    first = predictor(volume, "a", steps=3, samples=samples, seed=3)
    assert same(predictor(volume, "a", steps=3, samples=samples, seed=3), first)
    assert not same(predictor(volume, "a", steps=3, samples=samples, seed=4), first)
    assert not same(predictor(volume, "b", steps=3, samples=samples, seed=3), first)


@pytest.mark.parametrize(
    "model",
    [
        ("yx",),
        ("yx", "unet"),
        ("yx", "pixel_diffusion"),
        ("yx", "probabilistic_unet"),
        ("yx", "none", "paper"),
        ("zyx",),
    ],
)
@pytest.mark.parametrize("sampler", ["ddim", "one_step"])
def test_a_deterministic_prediction_depends_on_the_image_alone(
    make_model: MakeModel, model: tuple[str, ...], sampler: str
) -> None:
    predictor, volume = loaded(make_model(*model)), image(model[0], (18, 20, 30)[-len(model[0]) :])
    first = predictor(volume, "a", steps=1, samples=1, sampler=sampler, seed=3)
    assert same(predictor(volume, "b", steps=1, samples=1, sampler=sampler, seed=4), first)


def test_the_default_prediction_of_the_default_preset_is_the_deterministic_one(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model()), image("yx", (20, 30))
    assert same(predictor(volume, "a", seed=3), predictor(volume, "b", seed=4))


def test_several_deterministic_predictions_are_one(make_model: MakeModel) -> None:
    found = loaded(make_model())(image("yx", (16, 16)), steps=1, samples=5, keep_samples=True)
    assert len(found.samples) == 1
    assert found.pairwise_dice == {}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("shape", [(16, 16), (20, 27)])
def test_a_sample_is_the_same_however_many_are_drawn(
    make_model: MakeModel, sampler: str, shape: tuple[int, ...]
) -> None:
    predictor, volume = loaded(make_model()), image("yx", shape)
    few = predictor(volume, steps=3, samples=2, sampler=sampler, keep_samples=True)
    many = predictor(volume, steps=3, samples=4, sampler=sampler, keep_samples=True)
    for a, b in zip(few.samples, many.samples, strict=False):
        assert np.mean(a.array != b.array) < 0.01
    streamed = predictor(volume, steps=3, samples=4, sampler=sampler)
    np.testing.assert_allclose(streamed.probabilities.array, many.probabilities.array, atol=1e-4)


@pytest.mark.parametrize("block", [1, 10**9])
def test_blocks_of_samples_do_not_change_the_answer(make_model: MakeModel, block: int) -> None:
    predictor, volume = loaded(make_model()), image("yx", (20, 27))
    usual = predictor(volume, samples=4, steps=3, sampler="ddpm")
    assert isinstance(predictor.backend, TorchBackend)
    predictor.backend = replace(predictor.backend, limits=ChunkSizes(block, block))
    found = predictor(volume, samples=4, steps=3, sampler="ddpm")
    np.testing.assert_allclose(found.probabilities.array, usual.probabilities.array, atol=1e-4)


def test_the_image_is_encoded_once_and_a_step_is_one_call_of_the_denoiser(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model()), image("yx", (16, 16))
    encoder = counted(predictor.segmenter.get_submodule("image_encoder"))
    denoiser = counted(predictor.segmenter.get_submodule("denoiser"))
    predictor(volume, steps=1, samples=1)
    assert (encoder, denoiser) == ([1], [1])
    predictor(volume, steps=7, samples=5)
    assert (encoder, denoiser) == ([1, 1], [1, 1, *[5] * 7])  # with the answer of one call
    predictor(volume, steps=2, samples=3, keep_samples=True)
    assert encoder == [1, 1, 1]


def test_beside_several_samples_the_answer_of_one_call_counts_in_the_probabilities(
    make_model: MakeModel,
) -> None:
    predictor, volume = loaded(make_model()), image("yx", (16, 16))
    both = predictor(volume, steps=3, samples=2)
    one = predictor(volume, steps=1, samples=1)
    predictor.segmenter.has_deterministic_head = False
    samples = predictor(volume, steps=3, samples=2)
    mean = samples.probabilities.array + DETERMINISTIC_WEIGHT * (
        one.probabilities.array - samples.probabilities.array
    )
    np.testing.assert_allclose(both.probabilities.array, mean, atol=1e-6)
    assert np.abs(one.probabilities.array - samples.probabilities.array).max() > 0.01
    np.testing.assert_array_equal(both.frequencies.array, samples.frequencies.array)


def spied_starts(predictor: Predictor) -> list[Tensor]:
    """Return a list that grows by the starting noise of each sampling."""
    starts: list[Tensor] = []
    sample_latent = predictor.segmenter.sample_latent

    def spy(conditioning, start, *rest):  # type: ignore[no-untyped-def]
        starts.append(start)
        return sample_latent(conditioning, start, *rest)

    predictor.segmenter.sample_latent = spy  # type: ignore[method-assign]
    return starts


def mirroring(predictor: Predictor) -> Predictor:
    """The same, where training mirrored left and right."""
    predictor.plan = replace(predictor.plan, mirror_axes=(0, 1))
    return predictor


def turned(volume: Volume) -> Volume:
    return replace(volume, array=np.ascontiguousarray(volume.array[..., ::-1]))


def test_a_single_answer_is_the_mean_of_the_image_and_of_its_mirror_image(make_model: MakeModel) -> None:
    predictor, volume = mirroring(loaded(make_model(baseline="unet"))), image("yx", (16, 16))
    found = predictor(volume, tta=True).probabilities.array
    views = predictor(volume).probabilities.array, predictor(turned(volume)).probabilities.array[..., ::-1]
    np.testing.assert_allclose(found, sum(views) / 2, atol=1e-6)
    assert np.abs(views[0] - views[1]).max() > 0.01


def test_several_samples_of_a_deterministic_model_are_its_single_answer(make_model: MakeModel) -> None:
    """Not the mean of two views, which several samples of others are drawn from."""
    predictor, volume = mirroring(loaded(make_model(baseline="unet"))), image("yx", (16, 16))
    assert predictor.settings.posterior.tta
    assert same(predictor(volume, samples=6), predictor(volume))


@pytest.mark.parametrize("shape", [(16, 16), (16, 27)])
def test_every_second_sample_is_drawn_on_the_mirror_image(
    make_model: MakeModel, shape: tuple[int, ...]
) -> None:
    """With the noise where it was."""
    predictor, volume = mirroring(loaded(make_model())), image("yx", shape)
    found = predictor(volume, steps=3, samples=4, keep_samples=True, tta=True)
    plain = predictor(volume, steps=3, samples=4, keep_samples=True, tta=False)
    same_place = [np.mean(a.array == b.array) for a, b in zip(found.samples, plain.samples, strict=True)]
    assert same_place[0] == same_place[2] == 1
    assert max(same_place[1], same_place[3]) < 1
    answers = [predictor(volume, steps=1, samples=1, tta=tta) for tta in (True, False)]
    assert not same(*answers)


def test_noise_belongs_to_places_in_both_views(make_model: MakeModel) -> None:
    predictor = mirroring(loaded(make_model()))
    starts = spied_starts(predictor)
    predictor(image("yx", (16, 16)), steps=2, samples=1, tta=True)
    assert torch.equal(starts[0].flip(-1), starts[1])
    assert starts[0].std() > 0.5


def test_a_plan_that_mirrors_no_axis_has_no_second_view(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model()), image("yx", (16, 16))
    assert same(predictor(volume, samples=3, tta=True), predictor(volume, samples=3, tta=False))


@pytest.mark.parametrize(
    "changes, flipped",
    [
        ({}, (1,)),
        ({"mirror": False}, ()),
        ({"mirror_axes": ()}, ()),
        ({"mirror_axes": (1, 0)}, (0, 1)),
        ({"pipeline": ("affine",)}, ()),
    ],
)
def test_views_are_flipped_along_the_axes_that_training_flipped(
    make_model: MakeModel, changes: dict[str, Any], flipped: tuple[int, ...]
) -> None:
    folder, volume = make_model(), image("yx", (16, 16))
    write_plan(folder / "plan.json", replace(read_plan(folder / "plan.json"), mirror_axes=(1,)))
    settings = read_settings(folder / "settings.json")
    augment = replace(settings.augment, **changes)
    write_settings(folder / "settings.json", replace(settings, augment=augment))
    predictor = loaded(folder)
    assert predictor.plan.mirror_axes == flipped
    assert same(predictor(volume, tta=True), predictor(volume, tta=False)) == (not flipped)


def test_keeping_samples_neither_encodes_tiles_again_nor_changes_the_answer(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model()), image("yx", (16, 40))
    encoder = counted(predictor.segmenter.get_submodule("image_encoder"))
    kept = predictor(volume, samples=5, keep_samples=True)
    tiles = len(encoder)
    assert same(predictor(volume, samples=5), kept)
    assert (len(encoder), tiles) == (8, 4)


def test_one_step_takes_the_way_of_many(make_model: MakeModel) -> None:
    """With one step DDIM and one_step are the same thing."""
    predictor, volume = loaded(make_model()), image("yx", (20, 27))
    assert same(predictor(volume, steps=1, sampler="ddim"), predictor(volume, steps=1, sampler="one_step"))


def test_a_deterministic_control_answers_once(make_model: MakeModel) -> None:
    predictor, volume = loaded(make_model(baseline="unet")), image("yx", (20, 30))
    calls = counted(predictor.segmenter.get_submodule("decoder"))
    several = predictor(volume, samples=6, seed=1, keep_samples=True)
    assert set(calls) == {1}
    assert len(several.samples) == 1
    assert same(several, predictor(volume, seed=2))
    assert float(several.disagreement.array.max()) == 0


def test_noise_agrees_between_tiles_and_follows_the_image(make_model: MakeModel) -> None:
    """An image cut to a smaller one keeps the noise of the corner it still has."""
    predictor = loaded(make_model())
    starts = spied_starts(predictor)
    predictor(image("yx", (16, 24)), steps=2, samples=1)
    assert len(starts) == 2
    assert torch.equal(starts[0][..., 2:], starts[1][..., :2])


def test_samples_differ_and_their_spread_is_reported(make_model: MakeModel) -> None:
    found = loaded(make_model())(image("yx", (40, 40)), samples=8, keep_samples=True)
    assert any(not np.array_equal(found.samples[0].array, other.array) for other in found.samples[1:])
    assert found.disagreement.array.max() > 0
    for name, identity in (("left", 2), ("right", 5)):
        sizes = [float((one.array == identity).sum()) for one in found.samples]
        estimate = found.volumes[name]
        # Tiles that disagree about a voxel share its count, hence the tolerance.
        assert estimate.mean == pytest.approx(np.mean(sizes), abs=0.02 * 40 * 40)
        assert estimate.low <= estimate.mean <= estimate.high


def test_the_models_own_sampling_is_the_default(make_model: MakeModel) -> None:
    predictor = loaded(make_model())
    assert predictor.sampling() == predictor.settings.sampling
    assert predictor.sampling(steps=9).steps == 9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"steps": 0}, "steps is 0; choose 1 or more"),
        ({"samples": -1}, "samples is -1; choose 1 or more"),
        ({"sampler": "plms"}, "sampler is 'plms'; choose one of ddim"),
    ],
)
def test_illegal_sampling_is_refused(
    make_model: MakeModel, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        loaded(make_model())(image("yx", (16, 16)), **arguments)  # type: ignore[arg-type]
