"""`Predictor`: a trained model that answers for whole images, on the image's own grid.

M channels, K classes, *S the image's grid, *S' the network's grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.volumes import Volume
from ldseg.device import choose_device, memory_format
from ldseg.errors import InputError
from ldseg.inference.posterior import (
    Posterior,
    VolumeEstimate,
    case_confidence,
    entropy,
    estimate_volumes,
)
from ldseg.inference.recalibration import (
    UNCHANGED,
    Recalibration,
    stored_recalibration,
    widened,
    with_temperature,
)
from ldseg.inference.sampling import Engine, Tiles, TorchEngine, check_sampling
from ldseg.inference.tiling import Tiling, make_tiling
from ldseg.model.segmenter import Segmenter
from ldseg.planning.plan import Plan
from ldseg.preprocessing.patches import pad_to
from ldseg.preprocessing.prepare import GridRecord, labels_to_ids, prepare_image, restore_probabilities
from ldseg.saved_model import load_model
from ldseg.settings import RunSettings, SamplingSettings


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image; all volumes are on the image's own grid."""

    labels: Volume
    """(1, *S) ids as in the training masks: the likeliest class of the mean probabilities."""
    probabilities: Volume
    """(K, *S) float32, mean over the samples, classes in the plan's order."""
    uncertainty: Volume
    """(1, *S) float32, entropy of the mean probabilities in nats, 0 to log K."""
    disagreement: Volume
    """(1, *S) float32, mutual information in nats: the part of the entropy on which the samples disagree,
    before any recalibration."""
    samples: tuple[Volume, ...]
    """(1, *S) ids of each sample; empty unless they were to be kept."""
    volumes: dict[str, VolumeEstimate]
    """Per structure, counted on the network's grid."""
    frequencies: Volume
    """(K, *S) float32, share of the samples that decide for each class, classes in the plan's order."""
    pairwise_dice: dict[str, float]
    """Per structure, the Dice between two samples, over all pairs; empty where there is one sample."""
    confidence: float
    """Of the case as a whole, 0 to 1: the Dice to expect (see `posterior.case_confidence`)."""


class Predictor:
    """A model's plan and settings, and the engine that computes its answers."""

    def __init__(
        self, plan: Plan, settings: RunSettings, engine: Engine, recalibration: Recalibration = UNCHANGED
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.engine = engine
        self.recalibration = recalibration

    @classmethod
    def load(cls, folder: Path | str, device: str | None = None) -> Predictor:
        """From a folder that training wrote; on the best device here unless one is named.

        Raises:
            InputError: the folder or one of its files cannot be used, or the device is not here.
        """
        chosen = choose_device(device)
        model = load_model(Path(folder), chosen)
        layout = memory_format(model.settings.model.dimensions)
        # torch's stubs know `memory_format` only together with other arguments.
        placed = model.segmenter.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        engine = TorchEngine(placed, chosen, model.settings.training.precision)
        return cls(model.plan, model.settings, engine, stored_recalibration(Path(folder)))

    def uncalibrated(self) -> Predictor:
        """The same model, answering as it was trained."""
        return Predictor(self.plan, self.settings, self.engine)

    @property
    def segmenter(self) -> Segmenter:
        """The network itself, for those who look inside.

        Raises:
            InputError: the model was exported, and what is left of it is a graph.
        """
        if not isinstance(self.engine, TorchEngine):
            raise InputError(
                "an exported model cannot be looked into; load the folder that ldseg train wrote"
            )
        return self.engine.segmenter

    def sampling(
        self, steps: int | None = None, samples: int | None = None, sampler: str | None = None
    ) -> SamplingSettings:
        """The model's own sampling with what is given here instead; one sample where all would be equal.

        Raises:
            InputError: an unknown sampler, a number below 1, or what the engine cannot do.
        """
        given = {"steps": steps, "samples": samples, "sampler": sampler}
        chosen = replace(
            self.settings.sampling, **{name: value for name, value in given.items() if value is not None}
        )
        check_sampling(chosen)
        return self.engine.possible(chosen)

    @torch.inference_mode()
    def __call__(
        self,
        volume: Volume,
        name: str = "image",
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        keep_samples: bool = False,
        source: str | None = None,
    ) -> Prediction:
        """Segment an image.

        The result depends on the image, the model, `seed` and `name`, which the noise is drawn from, and on
        nothing else. `source` is what messages call the image (default `name`).

        Raises:
            InputError: the image has other axes or channels than the model takes, or voxels without a value.
        """
        sampling = self.sampling(steps, samples, sampler)
        prepared = prepare_image(volume, self.plan, source or name)
        tiling = make_tiling(prepared.record.shape, self.plan.patch, self.engine.latent_factor)
        tiles = self.engine.tiles(sampling, seed, name)
        padded = pad_to(prepared.array, tiling.covered, 0.0)  # 0, as training fills outside of images
        if not keep_samples:
            posterior = _gather(tiles, padded, tiling, range(sampling.samples))
            return self._answer(posterior, (), volume, prepared.record)
        kept: list[Volume] = []
        posterior = _gather(tiles, padded, tiling, range(1))
        kept.append(self._labels(posterior, volume, prepared.record))
        for sample in range(1, sampling.samples):
            one = _gather(tiles, padded, tiling, range(sample, sample + 1))
            kept.append(self._labels(one, volume, prepared.record))
            posterior.merge(one)
        return self._answer(posterior, tuple(kept), volume, prepared.record)

    def _labels(self, posterior: Posterior, volume: Volume, record: GridRecord) -> Volume:
        probabilities = restore_probabilities(posterior.probabilities(), record)
        return self._decide(probabilities, volume)

    def _decide(self, probabilities: NDArray[np.float32], volume: Volume) -> Volume:
        return volume.with_array(labels_to_ids(probabilities.argmax(0)[None], self.plan), "labels")

    def _answer(
        self, posterior: Posterior, samples: tuple[Volume, ...], volume: Volume, record: GridRecord
    ) -> Prediction:
        raw = restore_probabilities(posterior.probabilities(), record)
        probabilities = with_temperature(raw, self.recalibration.temperature)
        single = restore_probabilities(posterior.sample_entropy()[None], record)
        total = _entropy(raw)
        uncertainty = total if probabilities is raw else _entropy(probabilities)
        volumes = estimate_volumes(posterior.counts(), list(self.plan.classes), self._voxel_size(record))
        several = len(posterior.counts()) > 1
        structures = list(self.plan.classes)[1:]
        pairs = dict(zip(structures, posterior.pairwise_dice().tolist(), strict=True)) if several else {}
        disagreement = np.maximum(total - single, 0) if several else np.zeros_like(total)
        return Prediction(
            labels=self._decide(probabilities, volume),
            probabilities=volume.with_array(probabilities, "image"),
            uncertainty=volume.with_array(uncertainty, "image"),
            disagreement=volume.with_array(disagreement, "image"),
            samples=samples,
            volumes={k: widened(one, self.recalibration.widening) for k, one in volumes.items()},
            frequencies=volume.with_array(restore_probabilities(posterior.frequencies(), record), "image"),
            pairwise_dice=pairs,
            confidence=case_confidence(probabilities),
        )

    def _voxel_size(self, record: GridRecord) -> float:
        """Of the network's grid, in mm^d over the spatial axes."""
        return prod(step for name, step in zip(self.plan.axes, record.spacing, strict=True) if name != "t")


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1, *S) in nats, of probabilities (K, *S)."""
    return entropy(torch.from_numpy(probabilities), 0)[None].numpy()


def _gather(tiles: Tiles, image: NDArray[np.float32], tiling: Tiling, samples: range) -> Posterior:
    """Statistics of `samples` over all tiles of the padded image (M, *covered)."""
    posterior = Posterior(tiles.classes, tiling, samples)
    for tile in tiling.tiles():
        x = torch.from_numpy(image[(slice(None), *tile.region)])
        first = samples.start
        for probabilities in tiles.probabilities(x, tile.corner, samples):
            posterior.add(tile, first, probabilities)
            first += len(probabilities)
    return posterior


def load_predictor(folder: Path | str, device: str | None = None) -> Predictor:
    """`Predictor.load`, as the package's `ldseg.load`."""
    return Predictor.load(folder, device)
