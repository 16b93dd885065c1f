"""Checks for known issues of a machine. A check is one function and one entry in `CHECKS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ldseg.app.doctor.environment import Section, Value

MachineReport = dict[str, Section]

_TORCH, _MONAI = (2, 8), (1, 6)
_PYTHONS = ((3, 10), (3, 13))
_LITTLE_DISK_GB = 2.0
_CLEARLY = 1.5  # a ratio above it is no accident of a short measurement


def known_issues(report: MachineReport) -> list[str]:
    """Return a line with a remedy for each issue found; checks that lack their values are skipped."""
    found: list[str] = []
    for check in CHECKS:
        try:
            found += list(check(report))
        except (KeyError, TypeError, ValueError):
            continue
    return found


def missing_packages(report: MachineReport) -> Iterator[str]:
    """Tell of required packages that are not installed."""
    gone = [name for name, found in report["software"].items() if found == "missing"]
    if gone:
        yield f"missing: {', '.join(gone)}; install ldseg again with pip"


def unsuitable_torch(report: MachineReport) -> Iterator[str]:
    """Tell of a torch that is too old, or of the slow version 2.9."""
    torch = _numbers(report["software"]["torch"])
    if torch[:2] == (2, 9):
        yield "torch 2.9 has slow 3D convolutions; install another version: pip install 'torch>=2.8,!=2.9.*'"
    elif torch[:2] < _TORCH:
        yield "torch is older than 2.8, the oldest that ldseg is tested with; update it"


def old_monai(report: MachineReport) -> Iterator[str]:
    """Tell of a MONAI that is too old."""
    if _numbers(report["software"]["monai"])[:2] < _MONAI:
        yield "MONAI is older than 1.6, the oldest that ldseg is tested with; update it"


def untested_python(report: MachineReport) -> Iterator[str]:
    """Tell of a Python that ldseg is not tested with."""
    if not _PYTHONS[0] <= _numbers(report["software"]["Python"])[:2] <= _PYTHONS[1]:
        yield "ldseg is tested with Python 3.10 to 3.13 only"


def too_many_threads(report: MachineReport) -> Iterator[str]:
    """Tell of more threads than cores."""
    threads, cores = _number(report["device"]["torch threads"]), _number(report["processor"]["usable cores"])
    if threads > cores:
        yield f"torch starts {threads:g} threads on {cores:g} cores; set OMP_NUM_THREADS={cores:g}"


def small_container(report: MachineReport) -> Iterator[str]:
    """Tell of a container that allows much less memory than the machine has."""
    limit, total = report["memory"]["container's limit GB"], report["memory"]["total GB"]
    if _number(limit) < min(16.0, 0.6 * _number(total)):
        yield f"the container allows {limit} GB, which planning does not know; give --cpu-memory"


def little_disk(report: MachineReport) -> Iterator[str]:
    """Tell of a disk that is almost full."""
    for name, free in report["disk"].items():
        if _number(free) < _LITTLE_DISK_GB:
            yield f"only {free} GB are free for {name.removesuffix(' GB free')}; free some"


def unused_gpu(report: MachineReport) -> Iterator[str]:
    """Tell of a CUDA build of torch that finds no GPU."""
    if report["device"]["chosen"] == "cpu" and report["device"]["CUDA build"]:
        yield "torch is a CUDA build but finds no GPU; check the driver (nvidia-smi) and CUDA_VISIBLE_DEVICES"


def unsupported_gpu(report: MachineReport) -> Iterator[str]:
    """Tell of a GPU that this torch was not built for."""
    mine, known = report["device"]["GPU architecture"], str(report["device"]["architectures of this torch"])
    majors = {int(number) // 10 for number in re.findall(r"(?:sm|compute)_(\d+)", known)}
    if int(str(mine).removeprefix("sm_")) // 10 not in majors:
        yield f"this torch was not built for the GPU's architecture {mine} ({known}); install another build"


def slow_precision(report: MachineReport) -> Iterator[str]:
    """Tell of a precision that is much slower here than the other."""
    chosen = report["device"]["ldseg computes in"]
    ratio = _number(report["convolution"]["conv3d bf16 speed-up"])
    if chosen == "fp32" and ratio > _CLEARLY:
        yield f"bf16 is {ratio:g} times as fast as fp32 here, yet not chosen; try --training.precision bf16"
    if chosen == "bf16" and ratio < 1 / _CLEARLY:
        yield f"bf16 is only {ratio:g} times as fast as fp32 here; try --training.precision fp32"


def slow_conv3d(report: MachineReport) -> Iterator[str]:
    """Tell of 3D convolutions that are much slower than 2D ones."""
    flat, deep = (_number(report["convolution"][f"conv{n}d fp32 GFLOP/s"]) for n in (2, 3))
    if deep < flat / 10:
        yield f"3D convolutions run at {deep:g} GFLOP/s where 2D ones reach {flat:g}; try another torch"


def failed_measurements(report: MachineReport) -> Iterator[str]:
    """Tell of measurements that failed or ended the process."""
    for name in ("device", "convolution", "compile"):
        if "failed" in report[name]:
            harmless = "; ldseg does not need it" if name == "compile" else ""
            yield f"{name}: {report[name]['failed']}{harmless}"
    unknown = str(report["device"].get("unknown", ""))
    if "ended" in unknown:
        yield f"{unknown}; install torch again, in a build for this machine"


CHECKS: tuple[Callable[[MachineReport], Iterator[str]], ...] = (
    missing_packages,
    unsuitable_torch,
    old_monai,
    untested_python,
    failed_measurements,
    unused_gpu,
    unsupported_gpu,
    too_many_threads,
    small_container,
    little_disk,
    slow_precision,
    slow_conv3d,
)


def _numbers(version: Value) -> tuple[int, ...]:
    """Return the leading numbers of a version. Raises ValueError if there are none."""
    match = re.match(r"\d+(\.\d+)*", str(version))
    if match is None:
        raise ValueError(f"{version!r} is no version")
    return tuple(int(part) for part in match[0].split("."))


def _number(value: Value) -> float:
    """Return the value as a float. Raises TypeError if it is not a number."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return float(value)
