"""Several processes on this machine that train or predict over gloo, as torchrun would start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import multiprocessing

from ldseg.__main__ import leave
from ldseg.training.train_step import TrainStep
from ldseg.utils.distributed import DistributedContext, distributed_context

Work = Callable[..., None]


def _enter(rank: int, size: int, port: int, work: Work, arguments: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with distributed_context("cpu") as context:
        work(context, *arguments)
    leave(0)


def run_together(size: int, work: Work, *arguments: Any) -> None:
    """`work(context, *arguments)` in `size` processes; raises what one of them raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_enter, (size, port, work, arguments), nprocs=size)


def torchrun(size: int, *words: object) -> subprocess.CompletedProcess[str]:
    """`torchrun --nproc-per-node SIZE -m ldseg WORDS`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    return subprocess.run(
        [*command, "-m", "ldseg", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )


def train_until(context: DistributedContext, setup: Any, folder: Path, stop_after: int) -> None:
    """Train `setup` (training_setup.Setup) as one rank; the last rank is asked to stop after a step.

    Raises:
        AssertionError: the processes' weights differ.
    """
    usual = TrainStep.run

    def step(self: TrainStep, *arguments: Any) -> Any:
        losses = usual(self, *arguments)
        values = [*self.model.state_dict().values(), *self.average.state_dict().values()]
        assert len(set(context.all_gather(repr([value.double().sum().item() for value in values])))) == 1
        if context.rank == context.world_size - 1 and arguments[2].step + 1 == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # a launcher's, after the scheduler's
        return losses

    TrainStep.run = step  # type: ignore[method-assign]
    result = setup.run(folder, False, context)
    assert (result.steps, result.interrupted) == (stop_after, True)


def meet(context: DistributedContext, folder: Path) -> None:
    """Write, in each process, the results of all collective operations."""
    from ldseg.errors import InputError, RemoteRankError

    def fail_in_the_second() -> None:
        if context.rank == 1:
            raise InputError("a.png: is broken")

    try:
        context.run_on_all_ranks(fail_in_the_second)
        problem = "none"
    except RemoteRankError as error:
        problem = f"elsewhere: {error}"
    except InputError as error:
        problem = f"here: {error}"
    said = [
        *context.all_gather("é" * (context.rank + 1)),
        problem,
        str(context.all_reduce(context.rank + 1, 0.5)),
    ]
    (folder / str(context.rank)).write_text("\n".join(said), encoding="utf-8")
