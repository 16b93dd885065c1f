"""Settings of the plan; everything left at None is planned from the fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ldseg.errors import InputError
from ldseg.utils.system import granted_memory


@dataclass(frozen=True)
class PlanSettings:
    """Limits and fixed values of a plan."""

    cpu_memory_gb: float | None = None
    """Memory that training on a CPU may take, in GB; None: 60 % of the machine's or the container's, at most
    16."""
    gpu_memory_gb: float | None = None
    """Memory that training on a GPU may take, in GB; given, it takes the place of the CPU's limit."""
    batch: int | None = None
    """Cases per training step."""
    spacing: tuple[float, ...] | None = None
    """Target spacing in mm (frames for t), slowest axis first; in voxels where images have no spacing."""
    patch: tuple[int, ...] | None = None
    """Voxels that the network sees at once, slowest axis first."""
    normalization: Literal["by_channel", "unit"] | None = None
    """by_channel: by each channel's name and values. unit: each image by its own least and largest value to
    0..1, without harmonization (paper). None takes the preset's."""

    def __post_init__(self) -> None:
        _require_positive("cpu_memory_gb", self.cpu_memory_gb)
        _require_positive("gpu_memory_gb", self.gpu_memory_gb)
        _require_positive("batch", self.batch)
        for value in self.spacing or ():
            _require_positive("spacing", value)
        for value in self.patch or ():
            _require_positive("patch", value)

    def budget_gb(self) -> float:
        """Return the memory in GB that a training step may take."""
        if self.gpu_memory_gb is not None:
            return self.gpu_memory_gb
        return self.cpu_memory_gb or min(16.0, 0.6 * (granted_memory() / 1e9))


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise InputError(f"planning.{name} is {value}; give a number above 0 or leave it out")
