"""What the training images look like once they are prepared: how much detail of each fineness, and which
intensities. Pure data of the plan; `preprocessing.appearance` measures it."""

from __future__ import annotations

from dataclasses import dataclass

BAND_WIDTHS = (0.6, 1.0, 2.0, 4.0)
"""Deviations of the Gaussian blurs between which the bands of detail lie, in voxels of the finest axis."""
RANKS = 33
"""Of the intensities."""


@dataclass(frozen=True)
class ReferenceRange:
    """Some numbers of an image as they are among the training images."""

    mean: tuple[float, ...]
    tolerance: tuple[float, ...]
    """How far from the mean a number is still usual; above 0."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.tolerance) or min(self.tolerance, default=1.0) <= 0:
            raise ValueError(f"tolerance is {self.tolerance}; give a number above 0 for each of the mean")


@dataclass(frozen=True)
class ChannelStatistics:
    """Of one channel."""

    detail: ReferenceRange
    """Logarithm of the deviation of each band of detail, finest first, over that of what no band holds. The
    tolerance is of what the next coarser band does not explain."""
    follows: tuple[float, ...]
    """How far each band goes with the next coarser one, 0 for the coarsest: an image that is rich in coarse
    detail is rich in fine detail too."""
    intensities: ReferenceRange
    """Normalised intensities at even ranks, from the least to the greatest."""

    def __post_init__(self) -> None:
        bands = len(BAND_WIDTHS)
        lengths = {
            "detail": (len(self.detail.mean), bands),
            "follows": (len(self.follows), bands),
            "intensities": (len(self.intensities.mean), RANKS),
        }
        for name, (found, wanted) in lengths.items():
            if found != wanted:
                raise ValueError(f"{name} has {found} numbers; give {wanted}")
