"""The whole chain from an image patch and its noise to probabilities, as one module that can be traced.

B cases; N samples; M image channels; C latent channels; D fresh draws; K classes; *S patch; f latent factor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.samplers.types import DrawNoise
from ldseg.diffusion.schedule import even_times
from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.backends.torch_backend import count_deterministic, flipped, views
from ldseg.methods.base import Segmenter
from ldseg.networks.image_encoder import Conditioning
from ldseg.settings import SamplingSettings

_ONE_CALL = [1.0, 0.0]
"""Times of sampling."""


class ExportableSampler(nn.Module):
    """image (B, M, *S), noise (B, N, C, *S / f), fresh noise (B, N, D, C, *S / f) to probabilities
    (B, answers + N, K, *S), the answers of one call first; the parameters of `sampling` are fixed. A
    deterministic model takes the image alone. With `mirrored`, an axis counted from the last, the image is
    looked at mirrored too, as `TorchTileSampler` does."""

    def __init__(self, segmenter: Segmenter, sampling: SamplingSettings, mirrored: int | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.samples = sampling.samples
        self.views = views(mirrored)
        self.answers = count_deterministic(segmenter, sampling, mirrored)
        self.times: list[float] = segmenter.sampling_times(sampling.steps).tolist()
        self.sampler = find_sampler(sampling.sampler)

    def forward(
        self, image: Tensor, noise: Tensor | None = None, fresh_noise: Tensor | None = None
    ) -> Tensor:
        seen = [self._look(view, image, noise, fresh_noise) for view in range(len(self.views))]
        answers = [answer for view in seen for answer in view.answers]
        if self.samples == 1:
            samples = [torch.stack([view.samples[0] for view in seen]).mean(0)]
        else:
            each = len(self.views)
            samples = [seen[sample % each].samples[sample // each] for sample in range(self.samples)]
        return torch.stack([*answers, *samples], 1)

    def _look(self, view: int, image: Tensor, noise: Tensor | None, fresh_noise: Tensor | None) -> _Seen:
        """Each view has every second of several samples, and a single one too."""
        axis = self.views[view]
        conditioning = self.segmenter.condition(flipped(image, axis))
        if noise is None:
            nothing = image.new_zeros(image.shape[0], *self.segmenter.start_shape(tuple(image.shape[2:])))
            return _Seen([], [self._decode(nothing, conditioning, axis)])
        mine = slice(view, None, len(self.views)) if self.samples > 1 else slice(None)
        start = flipped(noise[:, mine], axis)
        fresh = None if fresh_noise is None else flipped(fresh_noise[:, mine], axis)
        # Sample by sample, so that the image's fine features are never repeated.
        samples = [self._decode(z, conditioning, axis) for z in self._latents(conditioning, start, fresh)]
        if self.answers == 0:
            return _Seen([], samples)
        answer = self._draw(conditioning, flipped(noise[:, 0], axis), _ONE_CALL, _nothing)
        return _Seen([self._decode(answer, conditioning, axis)], samples)

    def mean(self, maps: Tensor) -> Tensor:
        """Of what `forward` gives, over the samples and, beside several, the answers: (B, K, *S)."""
        mean = maps[:, self.answers :].mean(1)
        if not self.answers or self.samples == 1:
            return mean
        return mean.lerp(maps[:, : self.answers].mean(1), DETERMINISTIC_WEIGHT)

    def _latents(self, conditioning: Conditioning, noise: Tensor, fresh_noise: Tensor | None) -> list[Tensor]:
        """Clean latents (B, C, *S / f) of each sample."""
        samples = noise.shape[1]
        draws = iter(()) if fresh_noise is None else iter(fresh_noise.flatten(0, 1).unbind(1))
        repeated = _repeated(conditioning, samples)
        latents = self._draw(repeated, noise.flatten(0, 1), self.times, lambda: next(draws))
        return [*latents.unflatten(0, (-1, samples)).unbind(1)]

    def _decode(self, z: Tensor, conditioning: Conditioning, axis: int | None) -> Tensor:
        return flipped(self.segmenter.decode(z, conditioning).softmax(1), axis)

    def _draw(
        self, conditioning: Conditioning, start: Tensor, times: list[float], fresh: DrawNoise
    ) -> Tensor:
        # Samplers ask whether a time is 0, and a trace knows the value of a constant only if it is a scalar
        # of its own, not an entry of a longer tensor.
        known = tuple(torch.tensor(t, device=start.device) for t in times)
        return self.segmenter.draw(conditioning, start, known, self.sampler, fresh)


class _Seen(NamedTuple):
    """Probabilities (B, K, *S) of what one view says."""

    answers: list[Tensor]
    samples: list[Tensor]


def _nothing() -> Tensor:
    raise RuntimeError("one step draws no fresh noise")


def _repeated(conditioning: Conditioning, samples: int) -> Conditioning:
    """Each case `samples` times in a row."""

    def repeat(tensor: Tensor) -> Tensor:
        return tensor[:, None].expand(-1, samples, *tensor.shape[1:]).flatten(0, 1)

    return Conditioning(repeat(conditioning.embedding), tuple(repeat(f) for f in conditioning.features))


def count_draws(sampling: SamplingSettings) -> int:
    """How often sampling draws fresh noise, besides the noise it starts from."""
    drawn = 0

    def draw() -> Tensor:
        nonlocal drawn
        drawn += 1
        return torch.zeros(())

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        del t
        return z

    def signal(t: Tensor) -> Tensor:
        return (1 - t).clamp(0.1, 0.9)

    find_sampler(sampling.sampler)(denoise, torch.zeros(()), even_times(sampling.steps), signal, draw)
    return drawn
