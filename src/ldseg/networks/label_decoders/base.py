"""The interface of a label decoder: from a clean latent, and the image's features, to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from ldseg.settings import ModelSettings


class LabelDecoder(nn.Module, ABC):
    """A network from z (B, C, *S / f) and, if it takes them, image features, to float32 logits (B, K, *S)."""

    @abstractmethod
    def forward(
        self, z: Tensor, features: tuple[Tensor, ...] | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """Return the logits.

        Args:
            z: the latents.
            features: those of `Conditioning`, or None where the latent must do alone.
            keep: 0 for the cases that must do without features, else 1, (B,). It and `features` may speak of
                the first cases only; the others then do without.
        """


BuildLabelDecoder = Callable[[ModelSettings, tuple[int, ...]], LabelDecoder]
"""What a name in `model.decoder.architecture` stands for; the tuple has the channels of the image features,
finest level first."""
