"""Environment of the machine, found without torch: software, processor, memory, disk.

Each section is a function that returns names and values. `collect` calls them all; a section that fails holds
its error instead of ending the report.

`torch.utils.collect_env` finds much of this as well, but only where torch can be imported, and without a
container's limits and the packages of ldseg. `probe` asks it for the compiler and the GPU's driver.
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
    "scikit-image",
    "nibabel",
    "SimpleITK",
    "Pillow",
    "tifffile",
    "imagecodecs",
    "safetensors",
    "jsonargparse",
    "PyYAML",
    "rich",
    "jinja2",
    "matplotlib",
    "psutil",
)
"""Required packages."""
EXTRAS = {
    "demo": ("nilearn",),
    "dicom": ("pydicom", "highdicom"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "paper": ("h5py",),
}
"""Packages of each extra that a user may want."""


def software() -> Section:
    """Return the versions of ldseg, Python and the required packages."""
    found: Section = {
        "ldseg": __version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    return found | {name: installed(name) or "missing" for name in REQUIRED}


def extras() -> Section:
    """Return for each extra the versions of its packages, or those that are missing."""
    found: Section = {}
    for extra, names in EXTRAS.items():
        missing = [name for name in names if installed(name) is None]
        here = ", ".join(f"{name} {installed(name)}" for name in names)
        found[extra] = f"not installed (no {', '.join(missing)})" if missing else here
    return found


def processor() -> Section:
    """Return the processor, its usable cores and the variables that limit threads."""
    found: Section = {"model": _processor_name(), "cores": os.cpu_count(), "usable cores": usable_cores()}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            found[name] = os.environ[name]
    return found


def memory() -> Section:
    """Return the total and available main memory and the container's limit, in GB."""
    found: Section = {"total GB": _gb(total_memory()), "available GB": _gb(available_memory())}
    limit = container_memory_limit()
    if limit is not None:
        found["container's limit GB"] = _gb(limit)
    return found


def disk() -> Section:
    """Return the free disk space for results and for temporary files, in GB."""
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
    """Return all sections by name."""
    found: dict[str, Section] = {}
    for name, section in SECTIONS.items():
        try:
            found[name] = section()
        except Exception as problem:  # the report must not end at the first unusual thing
            found[name] = {"unknown": f"{type(problem).__name__}: {problem}"}
    return found


def installed(name: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor_name() -> str:
    """Return the processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gb(size: int) -> float:
    return round(size / 1e9, 1)
