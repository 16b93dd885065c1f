"""Several processes of one command: ranks, shards of the work and collective operations.

torchrun starts a command several times and tells each process its rank. A process without torchrun is
`SINGLE_PROCESS`, for which every operation is free. Numbers and texts travel over gloo, tensors on GPUs over
NCCL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ldseg.errors import InputError, RemoteRankError

Item = TypeVar("Item")
Result = TypeVar("Result")

_TIMEOUT = timedelta(hours=12)  # one process may prepare or predict much longer than another


@dataclass(frozen=True)
class DistributedContext:
    """The rank of this process among the processes of the command, and what they do together."""

    rank: int = 0
    """Rank 0 writes files and reports to the user."""
    world_size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Rank among the processes of this machine, which selects the GPU."""

    @property
    def is_rank_zero(self) -> bool:
        """Return whether this process writes files and reports to the user."""
        return self.rank == 0

    def shard(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this rank's contiguous part of `items`; the sizes of the parts differ by at most one."""
        count = len(items)
        return items[count * self.rank // self.world_size : count * (self.rank + 1) // self.world_size]

    def device_name(self, wanted: str | None) -> str | None:
        """Return the device for this process: its own GPU if GPUs are requested or chosen by default."""
        if self.world_size > 1 and wanted in (None, "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_rank}"
        return wanted

    def all_reduce(self, *values: float) -> list[float]:
        """Return the sum of each value over all processes, bit-equal in every process."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        return total.tolist()

    def all_gather(self, own: str) -> list[str]:
        """Return the text that each process passed, ordered by rank."""
        if self.world_size == 1:
            return [own]
        encoded = torch.frombuffer(bytearray(own.encode() + b"\0"), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        distributed.all_gather(lengths, torch.tensor([len(encoded)]))
        longest = max(int(length) for length in lengths)
        gathered = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.world_size)]
        distributed.all_gather(gathered, torch.nn.functional.pad(encoded, (0, longest - len(encoded))))
        return [bytes(one.tolist()).rstrip(b"\0").decode() for one in gathered]

    def run_on_all_ranks(self, work: Callable[[], Result]) -> Result:
        """Call `work` in every process, wait for all and return this process's result.

        Raises:
            InputError: the error of `work` on the lowest rank that failed; `RemoteRankError` on other ranks.
        """
        if self.world_size == 1:
            return work()
        result: list[Result] = []
        problem: InputError | None = None
        try:
            result.append(work())
        except InputError as error:
            problem = error
        messages = self.all_gather("" if problem is None else str(problem) or "unknown")
        failed = [rank for rank, text in enumerate(messages) if text]
        if not failed:
            return result[0]
        if problem is not None and failed[0] == self.rank:
            raise problem
        raise RemoteRankError(messages[failed[0]])

    def on_rank_zero(self, work: Callable[[], object]) -> None:
        """Call `work` on rank 0 while the others wait. Raises InputError like `run_on_all_ranks`."""
        self.run_on_all_ranks(lambda: work() if self.is_rank_zero else None)

    def rank_zero_first(self, make: Callable[[], Result], find: Callable[[], Result]) -> Result:
        """Return `make()` on rank 0, then `find()` on the others, e.g. to read what rank 0 has written.

        Raises:
            InputError: like `run_on_all_ranks`.
        """
        made: list[Result] = []
        self.on_rank_zero(lambda: made.append(make()))
        return self.run_on_all_ranks(lambda: made[0] if self.is_rank_zero else find())

    def all_reduce_tensor(self, values: Tensor) -> None:
        """Replace `values` in place by their sum over all processes."""
        if self.world_size > 1:
            distributed.all_reduce(values)

    def broadcast(self, values: Tensor) -> None:
        """Replace `values` in place by those of rank 0."""
        if self.world_size > 1:
            distributed.broadcast(values, 0)


SINGLE_PROCESS = DistributedContext()


@contextmanager
def distributed_context(device: str | None = None) -> Generator[DistributedContext]:
    """Yield the context that torchrun's environment describes, or `SINGLE_PROCESS` without torchrun.

    `device` is the user's choice, None for the default.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    on_gpus = device in (None, "cuda") and torch.cuda.is_available() and distributed.is_nccl_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpus and local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_TIMEOUT)
    try:
        yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), local_rank)
    finally:
        distributed.destroy_process_group()
