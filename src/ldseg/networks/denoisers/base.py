"""The interface of a denoiser: a network on the latent grid that every sampling step calls.

What depends on the image alone is computed once (`prepare`), and what depends on the time alone once for all
cases and samples (`embed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from ldseg.diffusion.schedule import NoiseLevel
from ldseg.settings import ModelSettings


class Denoiser(nn.Module, ABC):
    """A network from a noisy latent, the prepared embedding of the image and the time to a prediction."""

    factor: tuple[int, ...]
    """Each axis of the latent grid must be a multiple of this."""
    parameterization: str | None = None
    """What it predicts, a name in `PARAMETERIZATIONS`; None if `noise.parameterization` decides."""

    @abstractmethod
    def forward(self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor) -> Tensor:
        """Return the prediction, float32, in the form of z.

        Args:
            z: what `fold` made of the noisy latent (B, C, *s).
            prepared: what `prepare` made of the embedding (B, E, *s), or of one that all cases share.
            level: signal and noise levels of z, each (B,) or (1,).
            time: what `embed` made of t, (B, T) or (1, T).
        """

    @abstractmethod
    def embed(self, t: Tensor) -> Tensor:
        """Return the embedding (n, T) of times t (n,) in [0, 1]."""

    def prepare(self, embedding: Tensor) -> Tensor:
        """Return what no step changes, computed once per image; by default the embedding itself."""
        return embedding

    def fold(self, z: Tensor) -> Tensor:
        """Return a latent (B, C, *s) in the form that `forward` works on; by default as it is."""
        return z

    def unfold(self, z: Tensor) -> Tensor:
        """Return the inverse of `fold`."""
        return z

    def predict_for_loss(
        self, z: Tensor, prepared: Tensor, level: NoiseLevel, time: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, C, *s) for the latent loss, and the same prediction with the gradient
        that the segmentation loss may send through it, by default all of it."""
        prediction = self.unfold(self(self.fold(z), prepared, level, time))
        return prediction, prediction


BuildDenoiser = Callable[[ModelSettings], Denoiser]
"""What a name in `model.denoiser.architecture` stands for."""
