"""The interface of an image encoder: from an image to what conditions the diffusion of its label latent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ldseg.settings import ModelSettings


@dataclass(frozen=True)
class Conditioning:
    """Embedding and features of an image: computed once, used by every step and sample."""

    embedding: Tensor
    """(B, E, *S / f), or what a denoiser's `prepare` made of it."""
    features: tuple[Tensor, ...]
    """Finest level first, the last on the latent grid."""

    def repeat(self, samples: int) -> Conditioning:
        """Return the conditioning with each case `samples` times in a row."""
        if samples == 1:
            return self
        return Conditioning(
            self.embedding.repeat_interleave(samples, 0),
            tuple(f.repeat_interleave(samples, 0) for f in self.features),
        )


class ImageEncoder(nn.Module, ABC):
    """A network from x (B, M, *S) to `Conditioning`.

    The embedding has `image_encoder.embedding_channels` channels. The features lie on the grids of the label
    decoder's stages, `decoder.stages`, one for each stage, if that decoder takes any."""

    factor: tuple[int, ...]
    """Each axis of an image must be a multiple of this."""
    feature_channels: tuple[int, ...]
    """Channels of the features, finest level first."""

    @abstractmethod
    def forward(self, x: Tensor) -> Conditioning:
        """Return the image's embedding and features."""

    def load_pretrained(self) -> None:
        """Load pretrained weights, if there are any; called once, when a training begins.

        Raises:
            InputError: they cannot be read.
        """


BuildImageEncoder = Callable[[ModelSettings], ImageEncoder]
"""What a name in `model.image_encoder.architecture` stands for."""
