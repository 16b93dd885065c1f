"""The coherence is that whose samples tell volumes best among those that tell maps well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.volume import volume_of_array
from ldseg.evaluation import coherence_fit
from ldseg.evaluation.coherence_fit import (
    LENGTHS,
    SHARPNESS,
    energy_score,
    fit_coherence,
    sample_overlaps,
    volume_scores,
)
from ldseg.inference.base_predictor import Prediction
from ldseg.inference.coherence import Coherence
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration
from ldseg.metrics.ambiguity import Overlap, count_overlap

MakeModel = Callable[..., Path]
Masks = list[NDArray[np.int16]]


def folder(root: Path, cases: int, ids: tuple[int, ...] = (0, 2, 5)) -> Path:
    """Images and masks of random values."""
    rng = np.random.default_rng(0)
    for number in range(cases):
        image = volume_of_array(rng.integers(0, 255, (32, 40)).astype(np.uint8), "yx")
        mask = volume_of_array(rng.choice(ids, (32, 40)).astype(np.uint8), "yx")
        for name, one in (("images", image), ("masks", mask)):
            (root / name).mkdir(parents=True, exist_ok=True)
            write_volume(root / name / f"{number}.png", one)
    return root


def overlaps(samples: Masks, raters: Masks) -> tuple[Overlap, Overlap]:
    return count_overlap(samples, samples, [1]), count_overlap(samples, raters, [1])


def intervals(*bounds: tuple[int, int]) -> Masks:
    """Masks of 40 voxels, 1 between two of them."""
    places = np.arange(40)
    return [((places >= low) & (places < high)).astype(np.int16) for low, high in bounds]


def test_the_score_of_a_volume_is_least_for_the_distribution_it_is_drawn_from() -> None:
    rng = np.random.default_rng(0)
    truths = rng.normal(100, 10, (400, 1))

    def scored(spread: float, truth: NDArray[np.float64]) -> float:
        drawn = rng.normal(100, spread, (16, 1))
        return energy_score(np.abs(drawn - truth), np.abs(drawn - drawn.T))

    scores = [np.mean([scored(spread, truth) for truth in truths]) for spread in (1, 5, 10, 20, 40)]
    assert int(np.argmin(scores)) == 2
    assert scores[2] == pytest.approx(10 / np.sqrt(np.pi), rel=0.1)  # of a normal distribution


def test_volumes_of_two_samples_are_scored_as_the_formula_says() -> None:
    _, with_raters = overlaps(intervals((0, 4), (0, 10)), intervals((0, 6), (20, 32)))
    # E|v - y| of (2, 8, 4, 2) less half of E|v - v'| of 6
    np.testing.assert_allclose(volume_scores(with_raters), [4 - 3])


def fitted(
    make_model: MakeModel, root: Path, monkeypatch: pytest.MonkeyPatch, drawn: dict[int, Masks], raters: Masks
) -> Coherence | None:
    """Return the coherence that is fitted where the choices `drawn` have these samples, and all others far
    worse ones."""
    predictor = Predictor.load(make_model("yx", "none"), "cpu", calibrated=False)
    dataset = open_dataset(folder(root / "data", 2))
    elsewhere = intervals((39, 40), (39, 40))

    def found(*_: Any) -> list[tuple[Overlap, Overlap]]:
        return [overlaps(drawn.get(n, elsewhere), raters) for n in range(1 + len(LENGTHS))]

    monkeypatch.setattr(coherence_fit, "sample_overlaps", found)
    return fit_coherence(predictor, dataset, dataset.cases, predictor.sampling(samples=2), 1.5, 0)


@pytest.mark.parametrize("best", [0, 3, len(LENGTHS)])
def test_the_choice_whose_samples_are_nearest_is_taken(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    raters = intervals((0, 10), (0, 12))
    found = fitted(make_model, tmp_path, monkeypatch, {best: raters}, raters)
    assert found == (None if best == 0 else Coherence(LENGTHS[best - 1], SHARPNESS * 1.5))


def test_volumes_choose_among_samples_that_tell_maps_as_well(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raters = intervals((10, 20))
    # both miss the same share of the union, one by too small samples and one in the right size
    small, moved = intervals((10, 15), (10, 15)), intervals((10, 15), (15, 25))
    right = intervals((10, 20), (10, 20))
    drawn = {1: small, 2: right, 3: right, 4: moved}
    assert fitted(make_model, tmp_path, monkeypatch, drawn, raters) == Coherence(LENGTHS[1], SHARPNESS * 1.5)


def test_right_volumes_of_wrong_maps_are_not_taken(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raters = intervals((0, 10))
    of_right_size, in_place = intervals((20, 30), (20, 30)), intervals((0, 9), (0, 9))
    found = fitted(make_model, tmp_path, monkeypatch, {2: of_right_size, 4: in_place}, raters)
    assert found == Coherence(LENGTHS[3], SHARPNESS * 1.5)


def test_without_a_structure_samples_stay_as_they_are_drawn(make_model: MakeModel, tmp_path: Path) -> None:
    predictor = Predictor.load(make_model("yx", "none"), "cpu", calibrated=False)
    dataset = open_dataset(folder(tmp_path / "data", 2, ids=(0,)))
    sampling = predictor.sampling(samples=2)
    assert fit_coherence(predictor, dataset, dataset.cases, sampling, 1.5, 0) is None
    assert fit_coherence(predictor, dataset, (), sampling, 1.5, 0) is None


def test_voxels_that_the_data_set_calls_unlabelled_are_no_unknown_class(
    plain: Predictor, tmp_path: Path
) -> None:
    root = folder(tmp_path / "data", 2, ids=(0, 2, 5, 9))
    dataset = open_dataset(root, DataOptions(ignore_id=9))
    found = fit_coherence(plain, dataset, dataset.cases, plain.sampling(samples=2), 1.5, 0)
    assert found is None or found.length in LENGTHS


@pytest.fixture
def plain(make_model: MakeModel) -> Predictor:
    return Predictor.load(make_model("yx", "none"), "cpu", calibrated=False)


def overlaps_of_image(
    plain: Predictor, shape: tuple[int, ...], coherence: Coherence | None, unlabelled: int = 0
) -> tuple[Prediction, Overlap, Overlap]:
    """Return four samples of an image, and their overlaps with each other and with a rater who has class 1
    everywhere but in the first columns, which are unlabelled."""
    volume = volume_of_array(np.random.default_rng(0).normal(size=shape).astype(np.float32), "yx")
    rater = np.ones(shape, np.int16)
    rater[:, :unlabelled] = -1
    case, sampling = Case("image", (Path("image.png"),), (), "image"), plain.sampling(samples=4)
    ((among, with_rater),) = sample_overlaps(plain, volume, [rater], case, sampling, (coherence,), 0)
    predictor = plain.with_changes(calibration=Calibration(coherence=coherence))
    return predictor(volume, case.name, samples=4, keep_samples=True), among, with_rater


COHERENCES = pytest.mark.parametrize("coherence", [None, Coherence(2.0, 1.5)])


@COHERENCES
def test_volumes_over_several_tiles_are_those_that_a_prediction_has(
    plain: Predictor, coherence: Coherence | None
) -> None:
    predicted, among, with_rater = overlaps_of_image(plain, (40, 56), coherence)
    for k, name in enumerate(list(plain.plan.classes)[1:]):
        np.testing.assert_allclose(among.sizes_a[k], predicted.sample_volumes[name], rtol=1e-5)
        np.testing.assert_allclose(with_rater.sizes_b[k], 40 * 56 if k == 0 else 0, rtol=1e-5)


@COHERENCES
def test_voxels_that_samples_and_raters_have_in_common_are_counted_where_they_are_labelled(
    plain: Predictor, coherence: Coherence | None
) -> None:
    predicted, among, with_rater = overlaps_of_image(plain, plain.plan.patch, coherence, unlabelled=5)
    maps = [one.array[0][:, 5:] for one in predicted.samples]
    for k, label in enumerate(list(plain.plan.classes.values())[1:]):
        common = [[np.count_nonzero((a == label) & (b == label)) for a in maps] for b in maps]
        assert np.ptp(common) > 0
        np.testing.assert_allclose(among.common[k], common, rtol=1e-5)
        np.testing.assert_allclose(with_rater.common[k, :, 0], np.diag(common) if k == 0 else 0, rtol=1e-5)
