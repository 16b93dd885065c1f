"""What can be told of a machine without torch: software, processor, memory, disk.

Each section is a function that returns names and values; `collect` calls them all, and one that fails says so
in its place instead of ending the report.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldseg import __version__
from ldseg.utils.system import usable_cores

Value = str | int | float | bool | None
Facts = dict[str, Value]

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
    "safetensors",
    "jsonargparse",
    "PyYAML",
    "rich",
    "matplotlib",
)
"""The packages that ldseg cannot do without."""
EXTRAS = {
    "demo": ("nilearn",),
    "dicom": ("pydicom", "highdicom"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}
"""Extra to its packages."""
_UNLIMITED = 1 << 60  # cgroup v1 writes a number of this size for "no limit"


def software() -> Facts:
    """ldseg, Python and what ldseg needs."""
    found: Facts = {"ldseg": __version__, "Python": platform.python_version(), "system": platform.platform()}
    return found | {name: installed(name) or "missing" for name in REQUIRED}


def extras() -> Facts:
    """Each extra: the versions of its packages, or what is missing."""
    found: Facts = {}
    for extra, names in EXTRAS.items():
        missing = [name for name in names if installed(name) is None]
        here = ", ".join(f"{name} {installed(name)}" for name in names)
        found[extra] = f"not installed (no {', '.join(missing)})" if missing else here
    return found


def processor() -> Facts:
    """The processor, how many of its cores are ours, and the settings that limit threads."""
    found: Facts = {"model": _processor_name(), "cores": os.cpu_count(), "cores for us": usable_cores()}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found


def memory() -> Facts:
    """Main memory in GB: all of it, what is free, and what a container allows."""
    found: Facts = {"total GB": _gb(_physical_memory()), "available GB": _gb(_available_memory())}
    limit = _first_number("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    if limit is not None and limit < _UNLIMITED:
        found["container's limit GB"] = _gb(limit)
    return found


def disk() -> Facts:
    """Free space in GB where results and temporary files go."""
    found: Facts = {}
    for name, folder in (("here", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        found[f"{name} GB free"] = _gb(shutil.disk_usage(folder).free)
    return found


SECTIONS: dict[str, Callable[[], Facts]] = {
    "software": software,
    "extras": extras,
    "processor": processor,
    "memory": memory,
    "disk": disk,
}


def collect() -> dict[str, Facts]:
    """All sections."""
    return {name: _told(section) for name, section in SECTIONS.items()}


def installed(name: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _told(section: Callable[[], Facts]) -> Facts:
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


def _physical_memory() -> int | None:
    """Bytes; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _available_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _first_number(*files: str) -> int | None:
    """What the first of these files says that is there and holds a number."""
    for file in files:
        try:
            return int(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return None


def _gb(size: int | None) -> float | None:
    return None if size is None else round(size / 1e9, 1)
