"""Data-parallel training: processes start with equal weights and take equal steps.

Of the N cases of a step, process r has n_r and computes the gradient g_r of their loss; all step along
sum_r n_r / N g_r. That is the gradient of the whole batch for every loss that is a mean over cases. Sums
over a batch are taken per process: of soft Dice, of the labelled voxels that cross-entropy averages over, and
of batch norm. Noise, times and dropout are drawn per process.

Gradients are few (a model here has a few million parameters), so they travel together in one call.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ldseg.utils.distributed import DistributedContext


def broadcast_weights(model: nn.Module, context: DistributedContext) -> None:
    """Copy the weights of rank 0 to all processes."""
    for value in model.state_dict().values():
        context.broadcast(value)


@torch.no_grad()
def average_gradients(model: nn.Module, weight: float, context: DistributedContext) -> None:
    """Replace gradients and running statistics of batch norm by their mean over the processes.

    `weight` is n_r / N, this process's fraction of the step's cases.
    """
    if context.world_size == 1:
        return
    parameters = list(model.parameters())
    used = context.all_reduce(*(float(parameter.grad is not None) for parameter in parameters))
    tensors: list[Tensor] = []
    for parameter, processes in zip(parameters, used, strict=True):
        if processes == 0:  # no case needed it: without a gradient the optimizer leaves it, as in one process
            continue
        if parameter.grad is None:  # another process's loss uses it
            parameter.grad = torch.zeros_like(parameter)
        tensors.append(parameter.grad)
    tensors += [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    together = weight * torch.cat([tensor.flatten() for tensor in tensors])
    context.all_reduce_tensor(together)
    for tensor, part in zip(tensors, together.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
