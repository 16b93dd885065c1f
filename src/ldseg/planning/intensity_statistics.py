"""Intensity statistics of the training images after preprocessing, as the plan stores them.

Pure data; `preprocessing.intensity_statistics` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BAND_WIDTHS = (0.6, 1.0, 2.0, 4.0)
"""Deviations of the Gaussian blurs between the frequency bands, in voxels of the finest axis."""
QUANTILES = 33
"""Number of quantiles of the intensities."""


@dataclass(frozen=True)
class ReferenceRange:
    """Mean and tolerance of some numbers over the training images."""

    mean: tuple[float, ...]
    tolerance: tuple[float, ...]
    """Largest distance from the mean at which a number still counts as usual; above 0."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.tolerance) or min(self.tolerance, default=1.0) <= 0:
            raise ValueError(f"tolerance is {self.tolerance}; give a number above 0 for each of the mean")


@dataclass(frozen=True)
class ChannelStatistics:
    """Intensity statistics of one channel."""

    band_energy: ReferenceRange = field(metadata={"key": "detail"})
    """Logarithm of each frequency band's deviation over that of the remainder, finest first. The tolerance
    is of what the next coarser band does not explain."""
    band_slope: tuple[float, ...] = field(metadata={"key": "follows"})
    """Slope of the regression of each band on the next coarser one, 0 for the coarsest: an image with much
    coarse detail has much fine detail too."""
    intensities: ReferenceRange
    """Normalized intensities at even ranks, from the least to the greatest."""

    def __post_init__(self) -> None:
        bands = len(BAND_WIDTHS)
        lengths = {
            "detail": (len(self.band_energy.mean), bands),
            "follows": (len(self.band_slope), bands),
            "intensities": (len(self.intensities.mean), QUANTILES),
        }
        for name, (found, wanted) in lengths.items():
            if found != wanted:
                raise ValueError(f"{name} has {found} numbers; give {wanted}")
