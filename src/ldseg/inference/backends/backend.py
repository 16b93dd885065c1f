"""What an backend computes of a tile. Torch's is in `sampling`; another runtime's has the same methods.

B samples of a block; K classes; *S patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from ldseg.settings import SamplingSettings

DETERMINISTIC_WEIGHT = 0.5
"""Share of the answers of one call in the probabilities, beside several samples. Eight samples scatter around
the mean that such an answer was trained to give; on the other hand it is too sure where they differ."""


OnFeatures = Callable[[tuple[Tensor, ...]], None]
"""Gets the image encoder's features (1, C, *cells) of a tile as it is, finest level first."""


def ignore_features(features: tuple[Tensor, ...]) -> None:
    """Do nothing."""
    del features


@dataclass(frozen=True)
class TileBlock:
    """What some samples say in a tile, or an answer of one call."""

    probabilities: Tensor
    """(B, K, *S) float32."""
    samples: range
    """The numbers of the B samples; empty: an answer, B = 1."""


class Tiles(Protocol):
    """Posterior samples of the tiles of one case."""

    @property
    def classes(self) -> int:
        """K."""
        ...

    @property
    def answers(self) -> int:
        """How many blocks of a tile are no samples."""
        ...

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """What all `samples`, and the answers, say of the tile x (M, *S) at `corner`. `on_features` is called
        once, or never by a runtime that has no features to show."""
        ...


@dataclass(frozen=True)
class Computation:
    """What computes, on what, and how exactly."""

    runtime: Literal["torch", "onnx"]
    device: str
    precision: str
    """"fp32" or "bf16"."""


class Backend(Protocol):
    """What computes tiles."""

    @property
    def computation(self) -> Computation:
        """Runtime, device and precision."""
        ...

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """f, voxels of the network's grid per latent cell and axis."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether two samples of one image can differ."""
        ...

    def possible(self, sampling: SamplingSettings) -> SamplingSettings:
        """What it does when `sampling` is asked for: one sample where all would be equal.

        Raises:
            InputError: it can't sample in this way.
        """
        ...

    def tiles(self, sampling: SamplingSettings, seed: int, name: str, mirrored: int | None) -> Tiles:
        """Tiles of the case `name`, looked at mirrored along this axis too."""
        ...
