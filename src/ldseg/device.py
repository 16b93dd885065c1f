"""What the device at hand does well: which device, which precision, which memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ldseg.errors import InputError


def choose_device(name: str | None = None) -> torch.device:
    """The named device, or CUDA, then Apple's MPS, then the CPU, whichever is there.

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
    """Whether convolutions are faster in bf16 than in fp32 here: of CPUs on those with matrix tiles (AMX) and
    on AMD's with AVX-512 for bf16, which take half the time; Intel's without tiles were slower for it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    known = getattr(torch.cpu, "get_capabilities", dict)()
    amd = "AMD" in str(known.get("cpu_name", ""))
    return bool(known.get("amx_bf16", False) or (amd and known.get("avx512_bf16", False)))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 autocast for "bf16", or for "auto" where the device multiplies it natively; else fp32."""
    if precision == "bf16" or (precision == "auto" and multiplies_bf16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def memory_format(dimensions: int) -> torch.memory_format:
    """Channels last: the layout in which convolutions are fastest on CPUs and tensor cores."""
    return torch.channels_last if dimensions == 2 else torch.channels_last_3d
