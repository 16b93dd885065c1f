"""Resample between grids that cover the same box, axis by axis.

Each axis is one sparse matrix (new, old) of kernel weights between voxel centres. Where the grid gets coarser
the kernel is widened by the same factor, so that nothing aliases; rows sum to one, so that probabilities stay
probabilities. Equal shapes return the input itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kernel = Literal["linear", "cubic"]
_REACH = {"linear": 1.0, "cubic": 2.0}


def resample_image(
    array: NDArray[np.float32], shape: Sequence[int], linear_axes: Sequence[int] = ()
) -> NDArray[np.float32]:
    """Return `array` (M, *S) on the grid `shape`: cubic, but linear along `linear_axes` (indices into *S).

    Thick slices differ too much from their neighbours for a cubic, which would overshoot between them.
    """
    kernels: list[Kernel] = ["linear" if axis in linear_axes else "cubic" for axis in range(len(shape))]
    return _resample(array, shape, kernels)


def resample_probabilities(probabilities: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return `probabilities` (K, *S) on the grid `shape`, linear: they stay within 0..1 and sum to one."""
    if tuple(probabilities.shape[1:]) == tuple(shape):
        return probabilities
    result = np.empty((len(probabilities), *shape), dtype=np.float32)
    for k, one in enumerate(probabilities):  # class by class, for memory
        result[k] = _resample(one[None], shape, _linear_kernels(shape))[0]
    return result


class StreamingResampler:
    """Resample probabilities as `resample_probabilities`, given plane by plane along one axis."""

    def __init__(self, old: Sequence[int], new: Sequence[int], axis: int) -> None:
        """Prepare resampling from the grid `old` to the grid `new`; planes lie across `axis`."""
        self._new, self._axis, self._same = tuple(new), axis, tuple(old) == tuple(new)
        if self._same:
            return
        weights = axis_weights(old[axis], new[axis], "linear")
        self._weights = weights
        self._first = np.minimum.reduceat(
            weights.indices, weights.indptr[:-1]
        )  # plane that each new one needs
        self._last = np.maximum.reduceat(weights.indices, weights.indptr[:-1])
        self._held: NDArray[np.float32] | None = None
        self._start = 0  # old plane that `_held` begins with
        self._done = 0

    def add(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next planes (C, ...) and return the new ones, maybe none, that can be made now."""
        if self._same:
            return planes
        grid = list(self._new)
        grid[self._axis] = planes.shape[self._axis + 1]
        wide = resample_probabilities(planes, grid)
        held = wide if self._held is None else np.concatenate([self._held, wide], self._axis + 1)
        stop = self._start + held.shape[self._axis + 1]
        done = int(np.searchsorted(self._last, stop - 1, side="right"))
        rows = self._weights[self._done : done, self._start : stop]
        made = np.stack([_along(one, self._axis, rows) for one in held]) if done > self._done else None
        needed = int(self._first[done]) if done < len(self._first) else stop
        self._held = np.take(held, range(needed - self._start, stop - self._start), self._axis + 1)
        self._start, self._done = needed, done
        return held[(slice(None),) * (self._axis + 1) + (slice(0, 0),)] if made is None else made


def resample_labels(labels: NDArray[np.int16], shape: Sequence[int]) -> NDArray[np.int16]:
    """Return the class indices `labels` (*S) on the grid `shape`.

    Each class present (ignore, -1, counts as one) is resampled as a mask; the largest wins, the lower on a
    tie.
    """
    if labels.shape == tuple(shape):
        return labels
    present = [int(k) for k in np.unique(labels)]
    result = np.full(tuple(shape), present[0], dtype=np.int16)
    best = np.zeros(tuple(shape), dtype=np.float32)
    for k in sorted(
        present, key=lambda k: (k < 0, k)
    ):  # ignore last: it wins only where it is the larger part
        weight = _resample((labels == k)[None].astype(np.float32), shape, _linear_kernels(shape))[0]
        wins = weight > best + 1e-6
        result[wins], best[wins] = k, weight[wins]
    return result


def _linear_kernels(shape: Sequence[int]) -> list[Kernel]:
    return ["linear" for _ in shape]


def _resample(array: NDArray[Any], shape: Sequence[int], kernels: Sequence[Kernel]) -> NDArray[np.float32]:
    result = np.asarray(array, dtype=np.float32)
    ratios = [new / old for new, old in zip(shape, array.shape[1:], strict=True)]
    for axis in sorted(range(len(shape)), key=lambda axis: ratios[axis]):  # shrink first: less work
        if shape[axis] != array.shape[axis + 1]:
            result = _along(result, axis + 1, axis_weights(array.shape[axis + 1], shape[axis], kernels[axis]))
    return result


def _along(array: NDArray[np.float32], axis: int, weights: Any) -> NDArray[np.float32]:
    """Apply the matrix `weights` (new, old) to `axis` of `array`."""
    first = np.moveaxis(array, axis, 0)
    product = weights @ np.ascontiguousarray(first).reshape(len(first), -1)
    return np.ascontiguousarray(np.moveaxis(product.reshape(-1, *first.shape[1:]), 0, axis))


def axis_weights(old: int, new: int, kernel: Kernel) -> Any:
    """Return the sparse (new, old) matrix of normalized kernel weights, none beyond the border."""
    from scipy import sparse  # slow to import, and a prediction on the image's own grid does not need it

    widening = max(1.0, old / new)
    reach = int(np.ceil(_REACH[kernel] * widening))
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    columns = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 2)[None]  # (new, taps)
    inside = (columns >= 0) & (columns < old)
    distance = np.abs(columns - centres[:, None]) / widening
    values = (np.maximum(0.0, 1.0 - distance) if kernel == "linear" else _cubic(distance)) * inside
    values /= values.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(new)[:, None], columns.shape)
    used = inside & (values != 0)
    return sparse.csr_matrix(
        (values[used].astype(np.float32), (rows[used], columns[used])), shape=(new, old), dtype=np.float32
    )


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the cubic kernel of Keys 1981, a = -1/2."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
