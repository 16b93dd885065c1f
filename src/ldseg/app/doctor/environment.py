"""What can be told of a machine without torch: software, processor, memory, disk.

Each section is a function that returns names and values; `collect` calls them all, and one that fails says so
in its place instead of ending the report.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldseg import __version__
from ldseg.utils.system import available_memory, container_memory_limit, total_memory, usable_cores

Value = str | int | float | bool | None
Section = dict[str, Value]

REQUIRED = (
    "torch",
    "monai",
    "einops",
    "numpy",
    "scipy",
    "nibabel",
    "SimpleITK",
    "Pillow",
    "tifffile",
    "imagecodecs",
    "safetensors",
    "jsonargparse",
    "PyYAML",
    "rich",
    "matplotlib",
    "psutil",
)
"""The packages that ldseg cannot do without."""
EXTRAS = {
    "demo": ("nilearn",),
    "dicom": ("pydicom", "highdicom"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}
"""Extra to its packages."""


def software() -> Section:
    """ldseg, Python and what ldseg needs."""
    found: Section = {
        "ldseg": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    return found | {name: installed(name) or "missing" for name in REQUIRED}


def extras() -> Section:
    """Each extra: the versions of its packages, or what is missing."""
    found: Section = {}
    for extra, names in EXTRAS.items():
        missing = [name for name in names if installed(name) is None]
        here = ", ".join(f"{name} {installed(name)}" for name in names)
        found[extra] = f"not installed (no {', '.join(missing)})" if missing else here
    return found


def processor() -> Section:
    """The processor, how many of its cores are ours, and the settings that limit threads."""
    found: Section = {"model": _processor_name(), "cores": os.cpu_count(), "cores for us": usable_cores()}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found


def memory() -> Section:
    """Main memory in GB: all of it, what is free, and what a container allows."""
    found: Section = {"total GB": _gb(total_memory()), "available GB": _gb(available_memory())}
    limit = container_memory_limit()
    if limit is not None:
        found["container's limit GB"] = _gb(limit)
    return found


def disk() -> Section:
    """Free space in GB where results and temporary files go."""
    found: Section = {}
    for name, folder in (("here", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        found[f"{name} GB free"] = _gb(shutil.disk_usage(folder).free)
    return found


SECTIONS: dict[str, Callable[[], Section]] = {
    "software": software,
    "extras": extras,
    "processor": processor,
    "memory": memory,
    "disk": disk,
}


def collect() -> dict[str, Section]:
    """All sections."""
    return {name: _told(section) for name, section in SECTIONS.items()}


def installed(name: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _told(section: Callable[[], Section]) -> Section:
    """A section, or in its place what went wrong."""
    try:
        return section()
    except Exception as problem:  # a report of a strange machine must not end at its first strangeness
        return {"unknown": f"{type(problem).__name__}: {problem}"}


def _processor_name() -> str:
    """As the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gb(size: int) -> float:
    return round(size / 1e9, 1)
