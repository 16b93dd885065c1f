"""A limit of memory makes blocks of samples smaller first, then tiles, and is refused when nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference import fit_to_memory as memory
from ldseg.inference.backends.torch_backend import ChunkSizes, TorchBackend
from ldseg.inference.fit_to_memory import cost_in_memory, fit_to_memory, tile_bytes
from ldseg.inference.output import LABELS, SAMPLES
from ldseg.inference.predictor import Predictor
from ldseg.preprocessing.preprocess import grid_transform

MakeModel = Callable[..., Path]


@pytest.fixture
def predictor(make_model: MakeModel) -> Predictor:
    """2D, with a patch of 64 that divides by 8."""
    loaded = Predictor.load(make_model(), "cpu")
    return Predictor(replace(loaded.plan, patch=(64, 64)), loaded.settings, loaded.backend)


def scan(size: int = 300) -> Volume:
    array = np.random.default_rng(0).normal(size=(1, size, 200)).astype(np.float32)
    return Volume(array, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "image")


def limited(
    predictor: Predictor, room: float, wanted: tuple[str, ...] = (LABELS,), size: int = 300
) -> Predictor:
    """With so much room in bytes beyond the process as it is."""
    sampling = predictor.sampling(samples=64)
    cost = cost_in_memory(grid_transform(scan(size), predictor.plan), predictor.plan, 64, wanted)
    return fit_to_memory(predictor, cost, sampling, room / 1e9)


def choices(predictor: Predictor, size: int = 300) -> Iterator[Predictor]:
    """For ever less room, until there is too little."""
    room = 1e9
    while True:
        try:
            yield limited(predictor, room, size=size)
        except InputError:
            return
        room *= 0.8


def test_less_room_means_fewer_samples_at_once_then_smaller_tiles(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "taken_bytes", lambda: 0)
    seen: list[tuple[int, int]] = []
    for found in choices(predictor):
        assert isinstance(found.backend, TorchBackend)
        seen.append((prod(found.plan.patch), found.backend.limits.latent_cells))
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == (64 * 64, ChunkSizes().latent_cells)
    assert (64 * 64, 1) in seen
    assert seen[-1][0] < 64 * 64


def test_what_an_encoded_image_holds_beside_its_features_counts(make_model: MakeModel) -> None:
    unet, ssn = (Predictor.load(make_model(baseline=one), "cpu") for one in ("unet", "ssn"))
    more = tile_bytes(ssn, 8, (64, 64), ChunkSizes()) - tile_bytes(unet, 8, (64, 64), ChunkSizes())
    assert more >= 4 * 64 * 64 * 3 * 12  # mean, deviation and ten factors of three classes


def test_a_limit_that_no_tile_keeps_is_refused(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "taken_bytes", lambda: 10**9)
    with pytest.raises(InputError, match=r"--max-memory is 0\.9: this image needs about 1\.0 GB"):
        limited(predictor, 0.9e9)


def test_kept_samples_and_larger_images_cost_more(predictor: Predictor) -> None:
    plan, record = predictor.plan, grid_transform(scan(), predictor.plan)
    plain = cost_in_memory(record, plan, 8, (LABELS,)).held
    assert cost_in_memory(record, plan, 8, (LABELS, SAMPLES)).held == plain + 8 * 300 * 200
    assert cost_in_memory(grid_transform(scan(600), plan), plan, 8, (LABELS,)).held == 2 * plain
    assert tile_bytes(predictor, 8, (64, 64), ChunkSizes()) > 2 * tile_bytes(
        predictor, 8, (32, 32), ChunkSizes()
    )


def test_blocks_change_nothing_and_small_tiles_still_cover_the_image(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "taken_bytes", lambda: 0)
    usual = predictor(scan(70), samples=3)
    found = list(choices(predictor, size=70))
    few = next(one for one in found if one.backend.limits == ChunkSizes(1, 1))  # type: ignore[attr-defined]
    assert few.plan.patch == (64, 64)
    np.testing.assert_allclose(
        few(scan(70), samples=3).probabilities.array, usual.probabilities.array, atol=1e-4
    )
    small = next(one for one in found if one.plan.patch != (64, 64))
    assert small(scan(70), samples=2).labels.array.shape == (1, 70, 200)
