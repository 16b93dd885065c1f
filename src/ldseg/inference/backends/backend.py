"""`Backend`: the protocol of what computes the probabilities of a tile. `TorchBackend` and `OnnxBackend`
follow it.

A backend is made once per model; it makes a `TileSampler` per case, which yields a `TileBlock` at a time.
B samples of a block; K classes; *S patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from ldseg.settings import SamplingSettings

DETERMINISTIC_WEIGHT = 0.5
"""Weight of the deterministic predictions in the mean probabilities, beside several samples. Eight samples
scatter around the mean that such a prediction was trained to give; alone it is overconfident where they
differ."""


OnFeatures = Callable[[tuple[Tensor, ...]], None]
"""Gets the image encoder's features (1, C, *cells) of an unflipped tile, finest level first."""


def ignore_features(features: tuple[Tensor, ...]) -> None:
    """Do nothing."""
    del features


@dataclass(frozen=True)
class TileBlock:
    """Probabilities of a tile, of several samples or of one deterministic prediction."""

    probabilities: Tensor
    """(B, K, *S) float32."""
    samples: range
    """The numbers of the B samples; empty for a deterministic prediction, B = 1."""


class TileSampler(Protocol):
    """Draws posterior samples of the tiles of one case."""

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        ...

    @property
    def deterministic_predictions(self) -> int:
        """Number of deterministic predictions that `blocks` yields beside the samples."""
        ...

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """Yield the deterministic predictions and all `samples` of the tile x (M, *S) at `corner`.

        `on_features` is called once, or never by a backend that has no features to show.
        """
        ...


@dataclass(frozen=True)
class Computation:
    """The runtime, device and precision of a prediction."""

    runtime: Literal["torch", "onnx"]
    device: str
    precision: str
    """"fp32" or "bf16"."""


class Backend(Protocol):
    """Computes tiles of any case with one model."""

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
        """True where two samples of one image can differ."""
        ...

    def resolve_sampling(self, sampling: SamplingSettings) -> SamplingSettings:
        """Return the sampling that is computed when `sampling` is asked for: one sample where all would be
        equal.

        Raises:
            InputError: the backend cannot sample in this way.
        """
        ...

    def tiles(self, sampling: SamplingSettings, seed: int, name: str, tta_axis: int | None) -> TileSampler:
        """Return the sampler of the case `name`; `tta_axis` is the flip axis of test-time augmentation, or
        None."""
        ...
