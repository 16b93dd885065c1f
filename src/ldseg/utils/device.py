"""Choice of device, precision and memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ldseg.errors import InputError


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device, else the first available of CUDA, Apple's MPS and the CPU.

    Raises:
        InputError: the named device does not exist here.
    """
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used here ({reason}); try --device cpu") from error
    return device


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether convolutions are expected to be faster in bf16 than in fp32 on the device.

    Of CPUs that holds for those with matrix tiles (AMX) and for AMD's with AVX-512 for bf16; `ldseg doctor`
    measures it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    known = getattr(torch.cpu, "get_capabilities", dict)()
    amd = "AMD" in str(known.get("cpu_name", ""))
    return bool(known.get("amx_bf16", False) or (amd and known.get("avx512_bf16", False)))


def precision_of(device: torch.device, wanted: str = "auto") -> str:
    """Return "bf16" or "fp32" as requested; for "auto" bf16 if the device multiplies it natively."""
    if wanted != "auto":
        return wanted
    return "bf16" if multiplies_bf16(device) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the autocast context for "auto", "bf16" or "fp32" on the device."""
    if precision_of(device, precision) == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which products are as precise as their operands, also within autocast."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def memory_format(dimensions: int) -> torch.memory_format:
    """Return channels last, the layout in which convolutions are fastest on CPUs and tensor cores."""
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d


def prepare_training(device: torch.device) -> None:
    """Let a GPU try its algorithms for each shape, which all steps share, and multiply fp32 matrices in TF32.

    The optimizer's matrices need no more: 10 bits of mantissa. Nothing changes for other devices.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
