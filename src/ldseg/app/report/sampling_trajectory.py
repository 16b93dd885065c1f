"""Sampling trajectory of one case: the latent and the decoded clean estimate at each time.

At each time t of the sampler the model sees the noisy latent z_t and estimates the clean one, z0^; a state
holds both, z0^ decoded. C latent channels, f latent factor, *S the patch on the network's grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldseg.data.volume import Volume
from ldseg.inference.backends.torch_backend import CaseNoise, TorchBackend
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.predictor import Predictor
from ldseg.inference.sliding_window import make_tiling
from ldseg.preprocessing.harmonize import harmonize
from ldseg.preprocessing.preprocess import preprocess_image, preprocess_labels
from ldseg.settings import SamplingSettings
from ldseg.utils.device import autocast, memory_format

STEPS = 6


@dataclass(frozen=True)
class TrajectoryState:
    """The state at one time of the sampler; arrays (*S) without padding."""

    time: float
    """Time t, from 1 (pure noise) down to 0."""
    latent: NDArray[np.float32]
    """z_t (C, *S), each latent cell repeated over its voxels."""
    labels: NDArray[np.int64]
    """Class indices of the decoded clean estimate (*S)."""


@dataclass(frozen=True)
class SamplingTrajectory:
    """The states of one sample in one patch."""

    states: tuple[TrajectoryState, ...]
    image: NDArray[np.float32]
    """Preprocessed patch (M, *S)."""
    spacing: tuple[float, ...]
    sampler: str


@dataclass(frozen=True)
class _Patch:
    """A patch of a case and its position on the network's grid."""

    x: Tensor
    corner: tuple[int, ...]
    inside: tuple[int, ...]
    """Size of the part that is image, not padding, from the corner on."""
    spacing: tuple[float, ...]


@torch.inference_mode()
def record_trajectory(
    predictor: BasePredictor, image: Volume, labels: Volume, name: str, sampling: SamplingSettings, seed: int
) -> SamplingTrajectory | None:
    """Return the sampling trajectory of the patch with most foreground in `labels` (the prediction).

    None for a model without diffusion, and for an ensemble. The noise is that of the case's first sample.
    """
    if not isinstance(predictor, Predictor):
        return None
    backend = predictor.backend
    if not isinstance(backend, TorchBackend):
        return None
    if not (backend.segmenter.stochastic and backend.segmenter.stepwise):
        return None
    patch = _select_patch(predictor, backend, image, labels)
    states = _Recorder(backend, patch, name, sampling, seed).run()
    cut = tuple(slice(0, n) for n in patch.inside)
    states = tuple(
        replace(one, latent=one.latent[(slice(None), *cut)], labels=one.labels[cut]) for one in states
    )
    return SamplingTrajectory(states, patch.x[(slice(None), *cut)].numpy(), patch.spacing, sampling.sampler)


def _select_patch(predictor: Predictor, backend: TorchBackend, image: Volume, labels: Volume) -> _Patch:
    plan = predictor.plan
    prepared = harmonize(preprocess_image(image, plan), plan).image
    found = preprocess_labels(labels, plan) > 0
    tiling = make_tiling(prepared.grid.shape, plan.patch, backend.latent_factor)
    tile = max(tiling.tiles(), key=lambda one: int(found[one.region].sum()))
    inside = tuple(min(p, n - c) for p, n, c in zip(tiling.patch, tiling.shape, tile.corner, strict=True))
    x = torch.from_numpy(prepared.read(tile.corner, tiling.patch))
    return _Patch(x, tile.corner, inside, prepared.grid.spacing)


@dataclass
class _Recorder:
    """Runs the sampler and records its states."""

    backend: TorchBackend
    patch: _Patch
    name: str
    sampling: SamplingSettings
    seed: int

    def run(self) -> tuple[TrajectoryState, ...]:
        """Draw one sample and return the state at each time."""
        model, device, patch = self.backend.segmenter, self.backend.device, self.patch.x.shape[1:]
        field = CaseNoise(self.seed, self.name, model.latent_channels, model.latent_factor)
        drawn = iter(range(10**9))

        def noise() -> Tensor:
            return field.read(next(drawn), self.patch.corner, patch, range(1)).to(device)

        batch = self.patch.x[None].to(device).contiguous(memory_format=memory_format(len(patch)))
        with autocast(device, self.backend.precision):
            conditioning = model.encode_image(batch)
            latent, time = noise(), 1.0
            states: list[TrajectoryState] = []

            def on_step(following: Tensor, z: Tensor, clean: Tensor) -> None:
                nonlocal latent, time
                states.append(self._state(time, latent, model.decode(clean, conditioning)))
                latent, time = z, float(following)

            last = model.predict_latent(conditioning, latent, self.sampling, noise, on_step)
            states.append(self._state(0.0, last, model.decode(last, conditioning)))
        return tuple(states)

    def _state(self, time: float, z: Tensor, logits: Tensor) -> TrajectoryState:
        large: NDArray[Any] = z[0].float().cpu().numpy()
        for axis, factor in enumerate(self.backend.segmenter.latent_factor):
            large = np.repeat(large, factor, axis + 1)
        return TrajectoryState(time, large, logits[0].argmax(0).cpu().numpy())
