"""Training patches by number: visit v is a function of (seed, v) alone.

So a resumed training sees what an uninterrupted one sees, whatever the number of workers, and no state of a
random generator need be stored.
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

_MOST_WORKERS = 8


class Visits(Dataset[tuple[Tensor, Tensor]]):
    """visits[v] is (image (M, *patch), labels (*patch), -1 where ignored): a rater and a patch drawn and
    augmented."""

    def __init__(
        self, cache: Cache, names: Sequence[str], plan: Plan, settings: AugmentSettings, seed: int
    ) -> None:
        self.cache, self.names, self.plan, self.seed = cache, tuple(names), plan, seed
        self.augment = make_augment(plan, settings)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, visit: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, visit))
        image, labels = draw_patch(self.cache, self._name(visit), self.plan, rng)
        return self.augment(image, labels, int(rng.integers(2**32)))

    def _name(self, visit: int) -> str:
        """Each epoch goes through all cases in an order of its own."""
        epoch, place = divmod(visit, len(self.names))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.names))
        return self.names[order[place]]


def draw_patch(cache: Cache, name: str, plan: Plan, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A patch of a case with the labels of one of its raters; outside of the image 0 and ignored."""
    rater = int(rng.integers(cache.raters(name)))
    image, labels = cache.image(name), cache.labels(name, rater)
    corner = sample_corner(rng, image.shape[1:], plan.patch, cache.foreground(name))
    return cut(image, labels, corner, plan)


def central_patch(cache: Cache, name: str, plan: Plan, rater: int = 0) -> tuple[Tensor, Tensor]:
    """The patch in the middle of the case's foreground (or of the image), for validation."""
    image, labels = cache.image(name), cache.labels(name, rater)
    found = [points for points in cache.foreground(name).values() if len(points)]
    shape = np.array(image.shape[1:])
    centre = np.concatenate(found).mean(0) if found else shape / 2
    room = shape - np.array(plan.patch)
    corner = np.clip(np.round(centre - np.array(plan.patch) / 2), np.minimum(0, room), np.maximum(0, room))
    corner = np.where(room < 0, 0, corner).astype(int)
    return cut(image, labels, tuple(int(c) for c in corner), plan)


def cut(image: Any, labels: Any, corner: Sequence[int], plan: Plan) -> tuple[Tensor, Tensor]:
    """The plan's patch of arrays (M, *S) and (*S) at `corner`, as float32 and int64 tensors."""
    x = crop(image, corner, plan.patch, 0.0).astype(np.float32)
    y = crop(labels, corner, plan.patch, IGNORE_INDEX).astype(np.int64)
    return torch.from_numpy(x), torch.from_numpy(y)


class VisitNumbers(Sampler[list[int]]):
    """Batches of visit numbers from a step on, without end; of each, this process's share."""

    def __init__(self, batch: int, first_step: int, context: DistributedContext = SINGLE_PROCESS) -> None:
        self.batch, self.first_step, self.context = batch, first_step, context

    def __iter__(self) -> Iterator[list[int]]:
        step = self.first_step
        while True:
            yield list(self.context.shard(range(step * self.batch, (step + 1) * self.batch)))
            step += 1


def batches(
    visits: Visits, batch: int, first_step: int, workers: int, context: DistributedContext = SINGLE_PROCESS
) -> Iterator[tuple[Tensor, Tensor]]:
    """(x, y) of each step from `first_step` on, without end. `batch` counts the cases of all processes."""
    loader = DataLoader(visits, batch_sampler=VisitNumbers(batch, first_step, context), num_workers=workers)
    return iter(loader)


def workers_for(
    device: torch.device, wanted: int | None, context: DistributedContext = SINGLE_PROCESS
) -> int:
    """Processes that prepare patches for this one, where its settings leave the number to the machine."""
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return 0
    return max(0, min(_MOST_WORKERS, usable_cores() // context.world_size - 1))
