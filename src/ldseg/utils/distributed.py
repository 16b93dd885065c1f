"""The processes of one command: which is this one, what is its share, and agreeing on numbers and texts.

torchrun starts a command several times and tells each process its rank. A process without torchrun is
`ALONE`, and nothing here costs it anything. Numbers and texts travel over gloo, tensors on GPUs over NCCL.
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

from ldseg.errors import InputError, ToldElsewhere

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = timedelta(hours=12)  # one process may prepare or predict much longer than another


@dataclass(frozen=True)
class Team:
    """This process among those of the command."""

    rank: int = 0
    """0 is the first, which writes files and speaks to people."""
    size: int = 1
    local_rank: int = 0
    """Among the processes of this machine; its GPU is chosen by it."""

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of `items`, a run of neighbours; parts differ by at most one in size, and all
        together they are the whole."""
        count = len(items)
        return items[count * self.rank // self.size : count * (self.rank + 1) // self.size]

    def device_name(self, wanted: str | None) -> str | None:
        """What to compute on: where GPUs are asked for or taken by default, the one of this process."""
        if self.size > 1 and wanted in (None, "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_rank}"
        return wanted

    def sums(self, *values: float) -> list[float]:
        """The sum of each value over the processes; all get the same bits."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total)
        return total.tolist()

    def texts(self, own: str) -> list[str]:
        """What each process says, by rank."""
        if self.size == 1:
            return [own]
        said = torch.frombuffer(bytearray(own.encode() + b"\0"), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(lengths, torch.tensor([len(said)]))
        longest = max(int(length) for length in lengths)
        heard = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        distributed.all_gather(heard, torch.nn.functional.pad(said, (0, longest - len(said))))
        return [bytes(one.tolist()).rstrip(b"\0").decode() for one in heard]

    def checked(self, work: Callable[[], Result]) -> Result:
        """Do `work` in every process and wait for all.

        Raises:
            InputError: as `work` raises it in the first process at fault; `ToldElsewhere` in the others.
        """
        if self.size == 1:
            return work()
        result: list[Result] = []
        problem: InputError | None = None
        try:
            result.append(work())
        except InputError as error:
            problem = error
        told = self.texts("" if problem is None else str(problem) or "unknown")
        faults = [rank for rank, text in enumerate(told) if text]
        if not faults:
            return result[0]
        if problem is not None and faults[0] == self.rank:
            raise problem
        raise ToldElsewhere(told[faults[0]])

    def first_does(self, work: Callable[[], object]) -> None:
        """Do `work` in the first process while the others wait. Raises InputError as `checked`."""
        self.checked(lambda: work() if self.first else None)

    def after_first(self, make: Callable[[], Result], find: Callable[[], Result]) -> Result:
        """`make` in the first process, then `find` in the others what it left. Raises as `checked`."""
        made: list[Result] = []
        self.first_does(lambda: made.append(make()))
        return self.checked(lambda: made[0] if self.first else find())

    def sum_tensor(self, values: Tensor) -> None:
        """Replace `values` by the sum over the processes."""
        if self.size > 1:
            distributed.all_reduce(values)

    def take_from_first(self, values: Tensor) -> None:
        """Replace `values` by those of the first process."""
        if self.size > 1:
            distributed.broadcast(values, 0)


ALONE = Team()


@contextmanager
def join(device: str | None = None) -> Generator[Team]:
    """The team that torchrun's environment describes, `ALONE` without it. `device` as given by the user."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    on_gpus = device in (None, "cuda") and torch.cuda.is_available() and distributed.is_nccl_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpus and local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size(), local_rank)
    finally:
        distributed.destroy_process_group()
