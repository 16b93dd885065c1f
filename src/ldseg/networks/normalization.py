"""Group norm as PyTorch's, faster in three places.

On a CPU, where the channels are last in memory, PyTorch's own gradient takes many times as long as the value;
the one here goes case by case through the kernels of batch norm, which are quick there. bf16 in channels that
do not fill a register takes several times as long as fp32, which is what is computed in anyway. On a GPU,
autocast lets group norm take and return fp32, so that it and the activation after it move twice the bytes;
here it returns what it is given, with its sums in fp32 in any case, as on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.utils.device import memory_format

_REGISTER = 16
"""Channels that PyTorch's kernels take at once, or a multiple of them."""
_NO_EPSILON = torch.finfo(torch.float32).tiny
"""Changes no sum with 1; before PyTorch 2.13 batch norm refuses a plain 0."""
_FEW_PLACES = 1024
"""Below, PyTorch goes through memory group by group, from here on place by place."""


class GroupNorm(nn.GroupNorm):
    """Group norm (Wu & He 2018), equal to `torch.nn.GroupNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        channels_last = input.ndim > 2 and not input.is_contiguous() and input.movedim(1, -1).is_contiguous()
        if input.device.type == "cpu" and channels_last:
            if torch.is_grad_enabled():
                return _Normalised.apply(input, self.weight, self.bias, self.num_groups, self.eps)
            return _normalised(input, self.weight, self.bias, self.num_groups, self.eps)[0]
        if input.device.type == "cuda" and input.dtype != self.weight.dtype:
            weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
            with torch.autocast("cuda", enabled=False):
                return functional.group_norm(input, self.num_groups, weight, bias, self.eps)
        return super().forward(input)


def _normalised(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y = (x - mean) / deviation * weight + bias, mean and 1 / deviation of each case and group."""
    cases, channels = x.shape[:2]
    places = x[0, 0].numel()
    at_once = channels // groups if places < _FEW_PLACES else channels
    given = x.float() if at_once % _REGISTER else x
    y, mean, scale = torch.native_group_norm(given, weight, bias, cases, channels, places, groups, eps)
    return y.to(x.dtype), mean, scale


class _Normalised(torch.autograd.Function):
    """`_normalised` with a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        y, mean, scale = _normalised(x, weight, bias, groups, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, mean, scale = ctx.saved_tensors
        dy = gradients[0].contiguous(memory_format=memory_format(x.ndim - 2))
        members = len(weight) // mean.shape[1]
        mean, scale = (of_groups.float().repeat_interleave(members, 1) for of_groups in (mean, scale))
        cases = list(zip(dy.split(1), x.split(1), mean, scale, strict=True))
        of_cases = [_gradient_of_weights(d, one, weight, m, s) for d, one, m, s in cases]
        dweight, dbias = (torch.stack(found) for found in zip(*of_cases, strict=True))

        def averaged(channels: Tensor) -> Tensor:
            """Over places and the channels of a group, of the sums over places."""
            means = (weight * channels / x[0, 0].numel()).unflatten(1, (-1, members)).mean(2)
            return means.repeat_interleave(members, 1)

        slope = -scale.square() * averaged(dweight)
        offset = -slope * mean - scale * averaged(dbias)
        factor, dx = weight * scale, torch.empty_like(x)
        for n, (d, one, m, _) in enumerate(cases):
            along = _linear(one, slope[n], torch.zeros_like(m))
            torch.add(_linear(d, factor[n], offset[n]), along, out=dx[n : n + 1])
        return dx, dweight.sum(0), dbias.sum(0), None, None


def _gradient_of_weights(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias (C,) by one case (1, C, *S); its mean and 1 / deviation come by
    channel."""
    backward: Any = torch.ops.aten.native_batch_norm_backward
    wanted = [False, True, True]
    _, dweight, dbias = backward(dy, x, weight, None, None, mean, scale, True, 0.0, wanted)
    return dweight, dbias


def _linear(x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """Return x * factor + offset, by channel: batch norm by a mean of 0 and a variance of 1, in one pass."""
    zero, one = torch.zeros_like(factor), torch.ones_like(factor)
    return functional.batch_norm(x, zero, one, factor, offset, eps=_NO_EPSILON)
