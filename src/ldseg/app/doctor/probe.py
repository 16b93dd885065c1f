"""Measure torch on this machine, in a process of its own (`python -m ldseg.app.doctor.probe`).

A broken library or an instruction that the processor lacks ends a process without a message: then it is this
one, and `probing` reports how far it came. Each step writes one line of JSON to stdout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import collect_env

from ldseg.app.doctor.environment import Section
from ldseg.utils.device import choose_device, memory_format, precision_of

_SECONDS = 0.25  # per measurement
_CHANNELS = 32
_GRIDS = {2: (128, 128), 3: (32, 32, 32)}  # not smaller: torch does without oneDNN where one case is tiny


def device_section() -> Section:
    """Return the device that ldseg chooses and its properties."""
    device = choose_device()
    found: Section = {"chosen": str(device), "torch threads": torch.get_num_threads()}
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)()
    wanted = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "bf16")
    found["instructions"] = " ".join(name for name in wanted if capabilities.get(name)) or "unknown"
    found["ldseg computes in"] = precision_of(device)
    found["C compiler"] = collect_env.get_gcc_version(collect_env.run)  # torch.compile needs one
    found["NVIDIA driver"] = collect_env.get_nvidia_driver_version(collect_env.run)
    found["CUDA build"] = torch.version.cuda
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["GPU"] = f"{properties.name} x {torch.cuda.device_count()}"
        found["GPU memory GB"] = round(properties.total_memory / 1e9, 1)
        found["GPU architecture"] = f"sm_{properties.major}{properties.minor}"
        found["architectures of this torch"] = " ".join(torch.cuda.get_arch_list())
    return found


def convolution_section() -> Section:
    """Return GFLOP/s of 2D and 3D convolutions (width 3, 32 channels) and the bf16 speed-up."""
    device = choose_device()
    found: Section = {}
    for dimensions in (2, 3):
        speeds = {
            name: _throughput(dimensions, dtype, device)
            for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        }
        found |= {f"conv{dimensions}d {name} GFLOP/s": round(speed) for name, speed in speeds.items()}
        found[f"conv{dimensions}d bf16 speed-up"] = round(speeds["bf16"] / speeds["fp32"], 2)
    return found


def compile_section() -> Section:
    """Return the speed-up of torch.compile on a small block and the seconds of its first call."""
    device = choose_device()
    block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU()).to(device)
    x = torch.randn(1, 16, 64, 64, device=device)
    with torch.inference_mode():
        eager = _seconds(lambda: block(x), device)
        compiled: Any = torch.compile(block)
        started = time.perf_counter()
        compiled(x)
        _wait(device)
        first = time.perf_counter() - started
        return {
            "torch.compile speed-up": round(eager / _seconds(lambda: compiled(x), device), 2),
            "torch.compile first call s": round(first, 1),
        }


STEPS: dict[str, Callable[[], Section]] = {
    "device": device_section,
    "convolution": convolution_section,
    "compile": compile_section,
}


def main() -> None:
    """Run every step and print one line of JSON for each."""
    for name, step in STEPS.items():
        try:
            found = step()
        except Exception as problem:  # what fails is a finding here, and the next step may work
            text = (str(problem).strip().splitlines() or [""])[0]
            found = {"failed": f"{type(problem).__name__}: {text[:200]}"}
        sys.stdout.write(json.dumps({"step": name, "section": found}) + "\n")
        sys.stdout.flush()


def _throughput(dimensions: int, dtype: torch.dtype, device: torch.device) -> float:
    """Return the GFLOP/s of one convolution in the memory format that ldseg uses."""
    grid, layout = _GRIDS[dimensions], memory_format(dimensions)
    kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
    layer: Any = kind(_CHANNELS, _CHANNELS, 3, padding=1).to(device, dtype)
    layer = layer.to(memory_format=layout)
    x = torch.randn(1, _CHANNELS, *grid, device=device).to(dtype).to(memory_format=layout)
    operations = 2.0 * x[0, 0].numel() * _CHANNELS**2 * 3**dimensions
    with torch.inference_mode():
        return operations / _seconds(lambda: layer(x), device) / 1e9


def _seconds(call: Callable[[], Tensor], device: torch.device) -> float:
    """Return the seconds of the fastest call within the time limit; other programs only slow calls down."""
    call()
    _wait(device)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while True:
        started = time.perf_counter()
        call()
        _wait(device)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > end:
            return best


def _wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


if __name__ == "__main__":
    main()
