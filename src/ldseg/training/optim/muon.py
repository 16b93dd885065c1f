"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is applied.

All directions of a layer's update get the same length, so that the rarely used ones learn too. Scaled after
Liu et al. 2025 to the update size of AdamW, whose learning rates hold. A convolution is a matrix of outputs
by inputs times taps, which `torch.optim.Muon` does not take. Vectors, single rows and columns take AdamW's
update.

Matrices of one shape are computed together, and so are all vectors: a GPU spends longer on starting an
operation than on most of these weights.
"""

# PyTorch has its functions on lists of tensors under private names only, for its optimizers.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldseg.utils.cuda_graph import Capture

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: quintic, steep at 0
_ROUNDS = 5
_UPDATE_SIZE = 0.2  # root mean square of an AdamW update, about
_MOMENTUM = 0.95
_LEAST_NORM = 1e-12  # of a matrix; one that is zero stays so
_BETAS = (0.9, 0.999)
_LARGE = 128  # rows


_Graph = tuple[list[Tensor], Callable[[], None], list[Tensor]]
"""Memory of the gradients, what computes the updates from them, and memory of these."""


class Muon(torch.optim.Optimizer):
    """Muon for weights with two rows and columns or more, AdamW for the others."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.capture: Capture | None = None  # to start the updates of matrices as one CUDA graph
        self._graphs: dict[tuple[int, ...], _Graph] = {}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all parameters that have a gradient."""
        del closure
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            matrices = [parameter for parameter in trained if _is_matrix(parameter)]
            vectors = [parameter for parameter in trained if not _is_matrix(parameter)]
            for parameters, update in ((matrices, self._muon), (vectors, self._adam)):
                if parameters:
                    torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                    torch._foreach_add_(parameters, update(parameters), alpha=-group["lr"])

    def _muon(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """Return the update of each matrix, of its shape."""
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        gradients = gradients_of(matrices)
        momenta = [self.state[matrix]["momentum"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        blended = torch._foreach_lerp(gradients, momenta, _MOMENTUM)
        if self.capture is None:
            return _orthogonal_updates(blended)
        return self._replayed(self.capture, tuple(map(id, matrices)), blended)

    def _replayed(
        self, capture: Capture, matrices: tuple[int, ...], gradients: tuple[Tensor, ...]
    ) -> list[Tensor]:
        """Return the updates by a graph, recorded when these matrices have a gradient for the first time."""
        if matrices not in self._graphs:
            inputs = [gradient.clone() for gradient in gradients]
            self._graphs[matrices] = (inputs, *capture(lambda: _orthogonal_updates(inputs)))
        inputs, replay, updates = self._graphs[matrices]
        torch._foreach_copy_(inputs, gradients)
        replay()
        return updates

    def _adam(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return the update of each vector."""
        for vector in vectors:
            if not self.state[vector]:
                zeros = {name: torch.zeros_like(vector) for name in ("mean", "square")}
                self.state[vector] |= {"step": torch.zeros((), device="cpu"), **zeros}
        states = [self.state[vector] for vector in vectors]
        gradients = gradients_of(vectors)
        means, squares = ([state[name] for state in states] for name in ("mean", "square"))
        torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - _BETAS[1])
        steps: list[float] = []
        for state in states:
            state["step"] += 1
            steps.append(float(state["step"]))  # in the CPU's memory: reading it waits for no GPU
        sizes = torch._foreach_div(squares, [1 - _BETAS[1] ** step for step in steps])
        torch._foreach_sqrt_(sizes)
        torch._foreach_add_(sizes, 1e-8)
        updates = torch._foreach_div(means, [1 - _BETAS[0] ** step for step in steps])
        torch._foreach_div_(updates, sizes)
        return list(updates)


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of those parameters that have one."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 2


def _orthogonal_updates(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the scaled orthogonal matrix of each gradient, channels last in memory as these weights are.

    Beside a GPU, matrices of one shape are computed together, for few launches; a CPU would only pay for the
    copies.
    """
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, gradient in enumerate(gradients):
        alone = (index,) if gradient.device.type == "cpu" else ()
        shapes.setdefault((gradient.shape[0], gradient[0].numel(), *alone), []).append(index)
    matrices = [
        [gradients[index].movedim(1, -1).flatten(1) for index in indices] for indices in shapes.values()
    ]
    stacks = [torch.stack(some) if len(some) > 1 else some[0][None] for some in matrices]  # alone: no copy
    scales = [_UPDATE_SIZE * max(stack.shape[1:]) ** 0.5 for stack in stacks]
    updates = list(gradients)
    for indices, stack in zip(shapes.values(), orthogonal(stacks, scales), strict=True):
        for index, matrix in zip(indices, stack.unbind(), strict=True):
            outputs, inputs, *taps = gradients[index].shape
            updates[index] = matrix.view(outputs, *taps, inputs).movedim(-1, 1)
    return updates


def orthogonal(stacks: Sequence[Tensor], scales: Sequence[float]) -> list[Tensor]:
    """U V^T of matrices U S V^T, roughly: singular values come near 1, by the iteration of Newton and Schulz.

    Each stack holds matrices of one shape, (n, rows, columns), and its result is multiplied by its scale.
    Every round multiplies by a polynomial of the Gram matrix; these commute, so that they are gathered on the
    short side, beside a GPU for all matrices with the same short side together, and the matrix itself is
    multiplied only once.
    """
    wide = [(stack.mT if _is_tall(stack) else stack).float() for stack in stacks]
    sides: dict[tuple[int, ...], list[int]] = {}
    for index, x in enumerate(wide):
        alone = (index,) if x.device.type == "cpu" else ()
        sides.setdefault((x.shape[1], *alone), []).append(index)
    found = list(stacks)
    for indices in sides.values():
        factors = _newton_schulz(torch.cat([_product(wide[index], wide[index].mT) for index in indices]))
        for index, factor in zip(indices, factors.split([len(stacks[i]) for i in indices]), strict=True):
            x = _product(scales[index] * factor, wide[index])
            found[index] = (x.mT if _is_tall(stacks[index]) else x).to(stacks[index].dtype)
    return found


def _is_tall(stack: Tensor) -> bool:
    return stack.shape[1] > stack.shape[2]


def _newton_schulz(gram: Tensor) -> Tensor:
    """Return the factor that makes each matrix X orthogonal, from its Gram matrix X X^T (n, side, side).

    It is the product of the polynomials of all rounds, divided by the norm of X: the rounds need singular
    values below 1.
    """
    a, b, c = _POLYNOMIAL
    norm = gram.diagonal(dim1=1, dim2=2).sum(1).sqrt()[:, None, None] + _LEAST_NORM
    gram = gram / norm.square()
    gathered = 1 / norm
    for done in range(_ROUNDS):
        if _suits_onednn(gram):
            polynomial = torch.add(b * gram, _product(gram, gram), alpha=c)
        else:
            polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        gathered = _product(polynomial, gathered) if done else polynomial * gathered
        if done < _ROUNDS - 1:
            gram = _product(_product(polynomial, gram), polynomial)
    return gathered


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return the products of two stacks of matrices (n, rows, columns)."""
    if not _suits_onednn(left):
        return left @ right
    multiply: Any = torch.ops.mkldnn._linear_pointwise
    return multiply(left[0], right[0].mT, None, "none", [], "")[None]


def _suits_onednn(stack: Tensor) -> bool:
    """Return whether oneDNN multiplies these matrices faster than PyTorch's choice for fp32, MKL, which on
    processors that are not Intel's takes twice the time. Small ones do not repay the longer start."""
    is_large = len(stack) == 1 and stack.shape[1] >= _LARGE
    # The operator is not a public one: a PyTorch without it takes its own way.
    has_operator = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return is_large and stack.device.type == "cpu" and has_operator
