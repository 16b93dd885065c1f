"""Group norm's own gradient where the channels are last in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ldseg.networks.normalization import GroupNorm
from ldseg.utils.device import memory_format


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("shape", [(3, 12, 5, 7), (2, 12, 3, 4, 5), (1, 12, 1, 6)])
def test_gradients_are_those_of_pytorch(shape: tuple[int, ...], kind: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (3 + torch.randn(shape, generator=generator)).to(kind)
    dy = torch.randn(shape, generator=generator).to(kind)
    own, usual = GroupNorm(3, 12), torch.nn.GroupNorm(3, 12).double()
    torch.nn.init.uniform_(own.weight, generator=generator)
    usual.load_state_dict(own.state_dict())
    last = x.contiguous(memory_format=memory_format(len(shape) - 2)).requires_grad_()
    own(last).backward(dy)
    first = x.double().requires_grad_()
    usual(first).backward(dy.double())
    for found, wanted in ((last, first), (own.weight, usual.weight), (own.bias, usual.bias)):
        assert found.grad is not None
        assert wanted.grad is not None
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=tolerance, atol=tolerance)


def test_gradients_pass_where_batch_norm_wants_a_positive_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = torch.nn.functional.batch_norm

    def strict(*tensors: Tensor, eps: float) -> Tensor:  # as before PyTorch 2.13
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive, but got {eps}")
        return usual(*tensors, eps=eps)

    monkeypatch.setattr(torch.nn.functional, "batch_norm", strict)
    x = torch.randn(2, 12, 5, 7).contiguous(memory_format=torch.channels_last).requires_grad_()
    GroupNorm(3, 12)(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(("channels", "side"), [(12, 40), (16, 40), (12, 6), (64, 6)])
def test_values_in_bf16_are_those_of_pytorch(channels: int, side: int) -> None:
    x = torch.randn(2, channels, side, side).bfloat16().contiguous(memory_format=torch.channels_last)
    own, usual = GroupNorm(4, channels), torch.nn.GroupNorm(4, channels)
    with torch.no_grad():
        torch.testing.assert_close(own(x), usual(x))
        assert own(x).stride() == x.stride()


def test_a_case_s_gradient_does_not_depend_on_its_batch() -> None:
    x = torch.randn(3, 8, 4, 6).contiguous(memory_format=torch.channels_last)
    norm = GroupNorm(2, 8)

    def gradient(cases: torch.Tensor) -> torch.Tensor:
        leaf = cases.clone(memory_format=torch.preserve_format).requires_grad_()
        norm(leaf).square().sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    torch.testing.assert_close(gradient(x)[1:2], gradient(x[1:2]), rtol=1e-6, atol=1e-6)
