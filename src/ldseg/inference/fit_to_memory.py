"""Fits tiles and chunks of samples to a limit of memory.

    peak = process before + preprocessed image + maps to be made + window of statistics + one tile

Chunks of samples do not change the result; smaller tiles do, for they show the network less of the image at
once, so they come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from ldseg.errors import InputError
from ldseg.inference.backends.torch_backend import ChunkSizes, TorchBackend
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.output import (
    DISAGREEMENT,
    FREQUENCIES,
    LABELS,
    LEVELS,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
)
from ldseg.inference.predictor import Predictor
from ldseg.inference.sliding_window import make_tiling
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import GridTransform
from ldseg.settings import SamplingSettings, StagesSettings
from ldseg.utils.system import resident_memory

_FEWER = (ChunkSizes(), ChunkSizes(2**16, 2**20), ChunkSizes(1, 1))
"""Chunk sizes to try, largest first; the last is one sample at a time."""
_MAPS, _FULL_SIZE_MAPS, _MARGIN = 6, 8, 1.25
"""Fitted to the peaks of the default preset on a CPU, 2D and 3D, 1 to 8 samples: none of them is above."""
_LOADED_LATER = 5 * 10**7
"""What the process takes besides, once it computes: libraries' own buffers."""


@dataclass(frozen=True)
class ImageCost:
    """Memory that an image and its maps take besides tiles."""

    grid: GridTransform
    wanted: tuple[str, ...]
    """Maps to be made, of `output.MAPS`."""
    held: float
    """Bytes of the preprocessed image and the maps; little where both stay on the disk."""


def cost_in_memory(grid: GridTransform, plan: Plan, samples: int, wanted: Sequence[str]) -> ImageCost:
    """Return the memory of an image whose preprocessed voxels and maps are held as arrays."""
    classes, same = len(plan.classes), grid.shape == grid.canonical_shape
    sizes = {LABELS: 1, PROBABILITIES: 4 * classes, UNCERTAINTY: 4, DISAGREEMENT: 4}
    sizes |= {FREQUENCIES: 4 * classes, SAMPLES: samples, LEVELS: classes}
    maps = prod(grid.canonical_shape) * sum(sizes[name] for name in wanted)
    copies = 3 if plan.appearance or not same else 1  # harmonizing and resampling take some
    prepared = 4 * len(plan.channels) * prod(grid.shape) * copies
    return ImageCost(grid, tuple(wanted), prepared + maps)


def fit_any_to_memory(
    predictor: BasePredictor, cost: ImageCost, sampling: SamplingSettings, limit_gb: float
) -> BasePredictor:
    """Return a model, or an ensemble with each member, as `fit_to_memory` does.

    Raises:
        InputError: as `fit_to_memory`.
    """
    if isinstance(predictor, Ensemble):
        return predictor.with_members(lambda member: fit_to_memory(member, cost, sampling, limit_gb))
    if isinstance(predictor, Predictor):
        return fit_to_memory(predictor, cost, sampling, limit_gb)
    raise TypeError(f"{type(predictor).__name__} has no tiles to fit")


def fit_to_memory(
    predictor: Predictor, cost: ImageCost, sampling: SamplingSettings, limit_gb: float
) -> Predictor:
    """Return the predictor with the largest tiles and chunks that keep the process below `limit_gb` GB.

    Raises:
        InputError: no tile is small enough, or the model was exported and its tile is fixed.
    """
    backend = predictor.backend
    if not isinstance(backend, TorchBackend):
        raise InputError("--max-memory needs a model as trained; an exported graph has its tile built in")
    taken = taken_bytes()
    available = limit_gb * 1e9 - taken
    least = 0.0
    for patch in _patches(predictor.plan.patch, backend.segmenter.image_factor):
        around = cost.held + _window_bytes(predictor, cost, sampling, patch)
        for chunks in _FEWER:
            least = around + tile_bytes(predictor, sampling.samples, patch, chunks)
            if least <= available:
                smaller = replace(predictor.plan, patch=patch)
                return predictor.with_changes(plan=smaller, backend=replace(backend, limits=chunks))
    needed = (least + taken) / 1e9
    raise InputError(
        f"--max-memory is {limit_gb:g}: this image needs about {needed:.1f} GB even in the smallest tiles; "
        "raise it, or ask for fewer samples or maps"
    )


def taken_bytes() -> int:
    """Return the bytes that this process takes before the first tile."""
    return resident_memory() + _LOADED_LATER


def _patches(patch: tuple[int, ...], factor: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the plan's patch and ever smaller ones: the longest axis is halved, as far as the model
    divides."""
    while True:
        yield patch
        halves = [max(f, n // 2 // f * f) for n, f in zip(patch, factor, strict=True)]
        axis = max(range(len(patch)), key=lambda a: (halves[a] < patch[a], patch[a]))
        if halves[axis] == patch[axis]:
            return
        patch = (*patch[:axis], halves[axis], *patch[axis + 1 :])


def _window_bytes(
    predictor: Predictor, cost: ImageCost, sampling: SamplingSettings, patch: tuple[int, ...]
) -> float:
    """Return the bytes of the statistics, and of a slab of them on its way to the maps."""
    classes = len(predictor.plan.classes)
    tiling = make_tiling(cost.grid.shape, patch, predictor.backend.latent_factor)
    window = list(tiling.covered)
    window[tiling.axis] = patch[tiling.axis]
    kept = sampling.samples * (classes - 1) if SAMPLES in cost.wanted else 0
    sums = 4 * prod(window) * (2 * classes + kept)
    slab = 4 * prod(window) * (4 * classes + 4 + 2 * kept)
    return sums + slab * (0.5 if len(tiling.starts[tiling.axis]) > 1 else 1.0)


def tile_bytes(predictor: Predictor, samples: int, patch: tuple[int, ...], chunks: ChunkSizes) -> float:
    """Return the bytes of one tile, from the image to the statistics of a chunk of samples.

    The image's features stay; beside them the widest level of whichever network is at work, in so many maps,
    and full-size maps of logits, probabilities and statistics.
    """
    model, voxels = predictor.settings.model, prod(patch)
    factor = predictor.backend.latent_factor
    cells = voxels // prod(factor)
    features = _level_sizes(model.image_encoder.stages, voxels)
    drawn = min(samples, max(1, chunks.latent_cells // cells))
    decoded = min(drawn, max(1, chunks.decoded_voxels // voxels))
    encoding = _MAPS * max(features)
    drawing = drawn * _MAPS * max(_level_sizes(model.denoiser.stages, cells))
    decoding = decoded * _MAPS * max(_level_sizes(model.decoder.stages, voxels))
    full = decoded * voxels * (_FULL_SIZE_MAPS * model.classes + _FULL_SIZE_MAPS)
    encoded = 2 * voxels * predictor.segmenter.encoded_maps  # as the network gave them, and as they are used
    return 4 * _MARGIN * (sum(features) + encoded + max(encoding, drawing, decoding + full))


def _level_sizes(stages: StagesSettings, cells: int) -> list[int]:
    """Return the number of values in one feature map of each level of a network on a grid of `cells`."""
    sizes: list[int] = []
    for width, stride in zip(stages.widths, stages.strides, strict=True):
        cells //= prod(stride)
        sizes.append(cells * width)
    return sizes
