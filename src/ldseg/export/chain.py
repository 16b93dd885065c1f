"""The whole chain from an image patch and its noise to probabilities, as one module that can be traced.

B cases; N samples; M image channels; C latent channels; D fresh draws; K classes; *S patch; f latent factor.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ldseg.diffusion.samplers import find_sampler
from ldseg.diffusion.samplers.steps import DrawNoise
from ldseg.diffusion.schedule import even_times
from ldseg.inference.sampling import answers_too
from ldseg.model.image_encoder import Conditioning
from ldseg.model.segmenter import Segmenter
from ldseg.settings import SamplingSettings

_ONE_CALL = [1.0, 0.0]
"""Times of sampling."""


class PatchChain(nn.Module):
    """image (B, M, *S), noise (B, N, C, *S / f), fresh noise (B, N, D, C, *S / f) to probabilities
    (B, N, K, *S), or (B, 1 + N, K, *S) where the answer of one call comes first (`answered`); the parameters
    of `sampling` are fixed. A deterministic model takes the image alone."""

    def __init__(self, segmenter: Segmenter, sampling: SamplingSettings) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.samples = sampling.samples
        self.answered = answers_too(segmenter, sampling)
        self.times: list[float] = even_times(sampling.steps).tolist()
        self.sampler = find_sampler(sampling.sampler)

    def forward(
        self, image: Tensor, noise: Tensor | None = None, fresh_noise: Tensor | None = None
    ) -> Tensor:
        conditioning = self.segmenter.condition(image)
        if noise is None:
            nothing = image.new_zeros(image.shape[0], *self.segmenter.start_shape(tuple(image.shape[2:])))
            return self.segmenter.decode(nothing, conditioning).softmax(1)[:, None]
        draws = iter(()) if fresh_noise is None else iter(fresh_noise.flatten(0, 1).unbind(1))
        repeated = _repeated(conditioning, self.samples)
        latents = self._draw(repeated, noise.flatten(0, 1), self.times, lambda: next(draws))
        # Sample by sample, so that the image's fine features are never repeated.
        each = [*latents.unflatten(0, (-1, self.samples)).unbind(1)]
        if self.answered:
            each.insert(0, self._draw(conditioning, noise[:, 0], _ONE_CALL, _nothing))
        return torch.stack([self.segmenter.decode(z, conditioning).softmax(1) for z in each], 1)

    def mean(self, maps: Tensor) -> Tensor:
        """Of what `forward` gives, over the samples (B, K, *S); beside several, an answer counts as much as
        all of them."""
        mean = maps[:, int(self.answered) :].mean(1)
        return (maps[:, 0] + mean) / 2 if self.answered and self.samples > 1 else mean

    def _draw(
        self, conditioning: Conditioning, start: Tensor, times: list[float], fresh: DrawNoise
    ) -> Tensor:
        # The samplers' type for times is a tensor; what they do with one works here too.
        known = cast(Tensor, KnownTimes(torch.tensor(t, device=start.device) for t in times))
        return self.segmenter.draw(conditioning, start, known, self.sampler, fresh)


def _nothing() -> Tensor:
    raise RuntimeError("one step draws no fresh noise")


class KnownTimes(tuple[Tensor, ...]):
    """Times of sampling as single scalars. Samplers ask whether a time is 0, and a trace knows the value of a
    constant only if it is a scalar of its own, not an entry of a longer tensor."""

    def to(self, device: torch.device) -> KnownTimes:
        """The same, as a tensor's method would give them; they are on the right device already."""
        del device
        return self


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
