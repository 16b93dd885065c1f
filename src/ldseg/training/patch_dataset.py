"""Training patches by index: patch i depends on (seed, i) only.

A resumed training therefore sees the same patches as an uninterrupted one with any number of workers, and no
state of a random generator is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ldseg.data.class_indices import IGNORE_INDEX
from ldseg.planning.plan import Plan
from ldseg.preprocessing.augment import make_augment
from ldseg.preprocessing.cache import Cache
from ldseg.preprocessing.patches import crop, sample_corner
from ldseg.settings import AugmentSettings
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext
from ldseg.utils.system import usable_cores

_MOST_WORKERS = 16


class PatchDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented patches: item i is (image (M, *patch), labels (*patch) of one rater, -1 where ignored).

    Epochs follow each other without end; each one visits all cases in an order of its own.
    """

    def __init__(
        self, cache: Cache, names: Sequence[str], plan: Plan, settings: AugmentSettings, seed: int
    ) -> None:
        self.cache, self.names, self.plan, self.seed = cache, tuple(names), plan, seed
        self.augment = make_augment(plan, settings)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        image, labels = sample_patch(self.cache, self._case_name(index), self.plan, rng)
        return self.augment(image, labels, int(rng.integers(2**32)))

    def _case_name(self, index: int) -> str:
        """Return the case of patch `index`, from the random order of its epoch."""
        epoch, place = divmod(index, len(self.names))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.names))
        return self.names[order[place]]


def sample_patch(cache: Cache, name: str, plan: Plan, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a random patch with the labels of a random rater; outside the image it is 0 and ignored."""
    rater = int(rng.integers(cache.raters(name)))
    image, labels = cache.image(name), cache.labels(name, rater)
    corner = sample_corner(rng, image.shape[1:], plan.patch, cache.foreground(name))
    return crop_patch(image, labels, corner, plan)


def central_patch(cache: Cache, name: str, plan: Plan, rater: int = 0) -> tuple[Tensor, Tensor]:
    """Return the patch at the center of the case's foreground (or of the image), for validation."""
    image, labels = cache.image(name), cache.labels(name, rater)
    found = [points for points in cache.foreground(name).values() if len(points)]
    shape = np.array(image.shape[1:])
    center = np.concatenate(found).mean(0) if found else shape / 2
    free = shape - np.array(plan.patch)
    corner = np.clip(np.round(center - np.array(plan.patch) / 2), np.minimum(0, free), np.maximum(0, free))
    corner = np.where(free < 0, 0, corner).astype(int)
    return crop_patch(image, labels, tuple(int(c) for c in corner), plan)


def crop_patch(image: Any, labels: Any, corner: Sequence[int], plan: Plan) -> tuple[Tensor, Tensor]:
    """Return the patch of arrays (M, *S) and (*S) at `corner` as float32 and int64 tensors."""
    x = crop(image, corner, plan.patch, 0.0).astype(np.float32)
    y = crop(labels, corner, plan.patch, IGNORE_INDEX).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


class StepBatchSampler(Sampler[list[int]]):
    """Endless batches of patch indices from a step on, each reduced to this process's shard."""

    def __init__(self, batch: int, first_step: int, context: DistributedContext = SINGLE_PROCESS) -> None:
        self.batch, self.first_step, self.context = batch, first_step, context

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(self.context.shard(range(step * self.batch, (step + 1) * self.batch)))
            step += 1


def batches(
    dataset: PatchDataset,
    batch: int,
    first_step: int,
    workers: int,
    context: DistributedContext = SINGLE_PROCESS,
    pinned: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Return an endless iterator over the (x, y) of each step; `batch` counts the cases of all processes.

    `pinned` memory can be copied to a GPU while that computes.
    """
    sampler = StepBatchSampler(batch, first_step, context)
    loader = DataLoader(dataset, batch_sampler=sampler, num_workers=workers, pin_memory=pinned)
    return iter(loader)


def loader_workers(
    device: torch.device, wanted: int | None, context: DistributedContext = SINGLE_PROCESS
) -> int:
    """Return the number of data loader workers: `wanted`, or a default for the device and its cores."""
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return 0
    return max(0, min(_MOST_WORKERS, usable_cores() // context.world_size - 1))
