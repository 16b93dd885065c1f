"""`ExportableSampler`: sampling of an image patch, from its noise to probabilities, as one traceable module.

B cases; N samples; M image channels; C latent channels; D fresh draws; K classes; *S patch; f latent factor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.schedule import make_schedule
from ldseg.diffusion.timesteps import Timestep, Timesteps
from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.backends.torch_backend import count_deterministic, flip, tta_flips
from ldseg.methods.base import Segmenter
from ldseg.networks.image_encoders.base import Conditioning
from ldseg.settings import SamplingSettings


class ExportableSampler(nn.Module):
    """Maps image (B, M, *S), noise (B, N, C, *S / f) and fresh noise (B, N, D, C, *S / f) to probabilities
    (B, P + N, K, *S), the P deterministic predictions first. The parameters of `sampling` are fixed. Where
    the prediction is deterministic, the image alone is taken. `tta_axis` is the flip axis of test-time
    augmentation, counted from the last, which works as in `TorchTileSampler`."""

    def __init__(self, segmenter: Segmenter, sampling: SamplingSettings, tta_axis: int | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.samples = segmenter.resolve_sampling(sampling).samples
        self.flips = tta_flips(tta_axis)
        self.deterministic_predictions = count_deterministic(segmenter, sampling, tta_axis)
        self.times: list[float] = segmenter.sampling_times(sampling.steps).tolist()
        self.sampler = find_sampler(sampling.sampler)

    def forward(
        self, image: Tensor, noise: Tensor | None = None, fresh_noise: Tensor | None = None
    ) -> Tensor:
        views = [self._view(view, image, noise, fresh_noise) for view in range(len(self.flips))]
        deterministic = [one for view in views for one in view.deterministic]
        if self.samples == 1:
            samples = [torch.stack([view.samples[0] for view in views]).mean(0)]
        else:
            number = len(views)
            samples = [views[sample % number].samples[sample // number] for sample in range(self.samples)]
        return torch.stack([*deterministic, *samples], 1)

    def _view(
        self, view: int, image: Tensor, noise: Tensor | None, fresh_noise: Tensor | None
    ) -> _Probabilities:
        """Return what one view of test-time augmentation gives: every second of several samples, or the only
        one."""
        axis = self.flips[view]
        conditioning = self.segmenter.encode_image(flip(image, axis))
        shape = (image.shape[0], *self.segmenter.start_shape(tuple(image.shape[2:])))
        if noise is None:
            z = self.segmenter.predict_deterministic(conditioning, shape)
            return _Probabilities([], [self._decode(z, conditioning, axis)])
        mine = slice(view, None, len(self.flips)) if self.samples > 1 else slice(None)
        start = flip(noise[:, mine], axis)
        fresh = None if fresh_noise is None else flip(fresh_noise[:, mine], axis)
        # Sample by sample, so that the image's fine features are never repeated.
        samples = [self._decode(z, conditioning, axis) for z in self._latents(conditioning, start, fresh)]
        if self.deterministic_predictions == 0:
            return _Probabilities([], samples)
        z = self.segmenter.predict_deterministic(conditioning, shape)
        return _Probabilities([self._decode(z, conditioning, axis)], samples)

    def mean(self, maps: Tensor) -> Tensor:
        """Return the mean (B, K, *S) of what `forward` gives, deterministic predictions with their own
        weight."""
        number = self.deterministic_predictions
        mean = maps[:, number:].mean(1)
        if not number or self.samples == 1:
            return mean
        return mean.lerp(maps[:, :number].mean(1), DETERMINISTIC_WEIGHT)

    def _latents(self, conditioning: Conditioning, noise: Tensor, fresh_noise: Tensor | None) -> list[Tensor]:
        """Return clean latents (B, C, *S / f), one tensor per sample."""
        samples = noise.shape[1]
        draws = iter(()) if fresh_noise is None else iter(fresh_noise.flatten(0, 1).unbind(1))
        repeated, start = _repeat(conditioning, samples), noise.flatten(0, 1)
        # Samplers ask whether a time is 0, and a trace knows the value of a constant only if it is a scalar
        # of its own, not an entry of a longer tensor.
        times = tuple(torch.tensor(t, device=start.device) for t in self.times)
        latents = self.segmenter.sample_latent(repeated, start, times, self.sampler, lambda: next(draws))
        return [*latents.unflatten(0, (-1, samples)).unbind(1)]

    def _decode(self, z: Tensor, conditioning: Conditioning, axis: int | None) -> Tensor:
        return flip(self.segmenter.decode(z, conditioning).softmax(1), axis)


class _Probabilities(NamedTuple):
    """Probabilities (B, K, *S) that one view of test-time augmentation gives."""

    deterministic: list[Tensor]
    samples: list[Tensor]


def _repeat(conditioning: Conditioning, samples: int) -> Conditioning:
    """Return the conditioning with each case `samples` times in a row."""

    def repeat(tensor: Tensor) -> Tensor:
        return tensor[:, None].expand(-1, samples, *tensor.shape[1:]).flatten(0, 1)

    return Conditioning(repeat(conditioning.embedding), tuple(repeat(f) for f in conditioning.features))


def count_draws(segmenter: Segmenter, sampling: SamplingSettings) -> int:
    """Return how many times sampling draws fresh noise, besides the noise it starts from."""
    drawn = 0

    def draw() -> Tensor:
        nonlocal drawn
        drawn += 1
        return torch.zeros(())

    def denoise(z: Tensor, now: Timestep) -> Tensor:
        del now
        return z

    z = torch.zeros(1, 1)
    schedule, times = make_schedule("cosine", min_alpha_bar=0.1), segmenter.sampling_times(sampling.steps)
    timesteps = Timesteps(times, z.device, schedule, lambda t: t[:, None])
    find_sampler(sampling.sampler)(denoise, z, timesteps, draw)
    return drawn
