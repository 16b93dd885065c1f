"""The convolutions of a network alone, by shape: what its arithmetic costs without anything around it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Call = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]
"""Shape of the input and of the weight, stride, padding, whether gradients flow to the input."""


def convolutions_of(network: nn.Module, work: Callable[[], Any]) -> Counter[Call]:
    """Count the calls of each shape of convolution while `work` runs."""
    calls: Counter[Call] = Counter()

    def hear(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        del output
        x = inputs[0]
        calls[tuple(x.shape), tuple(module.weight.shape), module.stride, module.padding, x.requires_grad] += 1

    kinds = (nn.Conv2d, nn.Conv3d)
    hooks = [one.register_forward_hook(hear) for one in network.modules() if isinstance(one, kinds)]
    work()
    for hook in hooks:
        hook.remove()
    return calls


def bare_seconds(calls: Counter[Call], backward: bool, precision: str, repeats: int = 5) -> float:
    """CPU seconds of all `calls`, each shape measured by itself, in "fp32" or "bf16" and channels_last."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    return sum(count * _seconds(call, backward, kind, repeats) for call, count in calls.items())


def multiplications(calls: Counter[Call]) -> float:
    """Multiplications of all forward calls, in 1e9."""
    total = 0.0
    for (shape, weight, stride, _, _), count in calls.items():
        outputs = shape[0] * weight[0]
        for n, s in zip(shape[2:], stride, strict=True):
            outputs *= -(-n // s)
        taps = 1
        for n in weight[1:]:
            taps *= n
        total += count * outputs * taps
    return total / 1e9


def _seconds(call: Call, backward: bool, kind: torch.dtype, repeats: int) -> float:
    shape, weight_shape, stride, padding, flows = call
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    x = torch.randn(shape, dtype=kind).contiguous(memory_format=layout).requires_grad_(backward and flows)
    weight = torch.randn(weight_shape, dtype=kind).contiguous(memory_format=layout).requires_grad_(backward)
    convolve: Any = functional.conv2d if len(shape) == 4 else functional.conv3d
    spent: list[float] = []
    with torch.set_grad_enabled(backward):
        for _ in range(repeats + 1):
            started = time.process_time()
            out = convolve(x, weight, None, stride, padding)
            if backward:
                out.backward(torch.ones_like(out))
            spent.append(time.process_time() - started)
    return median(spent[1:])
