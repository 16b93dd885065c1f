from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import meet, run_together, torchrun, train_until
from safetensors.torch import load_file
from training_setup import Setup

from ldseg.app.cli import main as cli
from ldseg.data.formats import read_volume
from ldseg.errors import InputError
from ldseg.runs.files import STATE_FILE
from ldseg.settings import TrainingSettings
from ldseg.training.budget import make_budget
from ldseg.training.gradient_averaging import average_gradients
from ldseg.training.log_files import read_records
from ldseg.training.patch_dataset import StepBatchSampler
from ldseg.training.trainer import check_batch
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_are_the_whole_and_nearly_equal(count: int, size: int) -> None:
    shares = [DistributedContext(rank, size).shard(range(count)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_step_visits_the_same_whatever_the_number_of_processes(size: int) -> None:
    streams = [iter(StepBatchSampler(7, 4, DistributedContext(rank, size))) for rank in range(size)]
    for step in (4, 5, 6):
        together = [visit for stream in streams for visit in next(stream)]
        assert together == list(range(7 * step, 7 * step + 7))


def test_alone_agrees_with_itself() -> None:
    assert (
        SINGLE_PROCESS.all_gather("a"),
        SINGLE_PROCESS.all_reduce(2, 3),
        SINGLE_PROCESS.run_on_all_ranks(lambda: 5),
    ) == (["a"], [2, 3], 5)
    with pytest.raises(InputError, match="mine"):
        SINGLE_PROCESS.on_rank_zero(lambda: (_ for _ in ()).throw(InputError("mine")))


def test_a_team_agrees_on_texts_numbers_and_faults(tmp_path: Path) -> None:
    run_together(2, meet, tmp_path)
    said = ["é", "éé"]
    first = (tmp_path / "0").read_text(encoding="utf-8").splitlines()
    second = (tmp_path / "1").read_text(encoding="utf-8").splitlines()
    assert first == [*said, "elsewhere: a.png: is broken", "[3.0, 1.0]"]
    assert second == [*said, "here: a.png: is broken", "[3.0, 1.0]"]


def plain(setup: Setup) -> Setup:
    """Nothing random but the visits, and a loss that is a mean over cases of equal size."""
    settings = replace(setup.settings, baseline="unet")
    settings = replace(settings, loss=replace(settings.loss, dice=0.0))
    training = replace(settings.training, precision="fp32", batch=4, steps=6, warmup=1, optimizer="adam")
    calm = dict.fromkeys(("rotation", "scale", "shift", "affine_probability"), 0.0)
    augment = replace(settings.augment, **calm)  # type: ignore[arg-type]
    return replace(setup, settings=replace(settings, training=training, augment=augment))


def test_two_processes_stopped_and_resumed_by_one_learn_what_one_does(setup: Setup, tmp_path: Path) -> None:
    """Each of the two has half of the batch. Their weights stay equal, and the one that is told to stop tells
    the other."""
    chosen = plain(setup)
    chosen.run(tmp_path / "start", steps=1, learning_rate=1e-30)  # as good as none
    chosen.run(tmp_path / "one")
    run_together(2, train_until, chosen, tmp_path / "two", 3)
    chosen.run(tmp_path / "two", resume=True)
    start, one, two = (load_file(tmp_path / name / STATE_FILE) for name in ("start", "one", "two"))
    assert one.keys() == two.keys()
    weights = [name for name in one if name.startswith(("model.", "average."))]
    for name in weights:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=2e-5)
    assert max(float((one[name] - start[name]).abs().max()) for name in weights) > 1e-3
    told = [[(r["event"], r["step"]) for r in read_records(tmp_path / name)] for name in ("one", "two")]
    assert told[0] == told[1]


class TwoAlike(DistributedContext):
    """Two processes with equal values."""

    def all_reduce(self, *values: float) -> list[float]:
        return [2 * value for value in values]

    def all_reduce_tensor(self, values: torch.Tensor) -> None:
        values *= 2


def test_a_weight_that_no_process_used_keeps_no_gradient() -> None:
    """The optimizer leaves it then, as in a training of one process; by momentum it would move on."""
    model = torch.nn.ModuleList([torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)])
    model[0](torch.ones(1, 1)).sum().backward()
    average_gradients(model, 0.5, TwoAlike(0, 2))
    assert [one.grad is None for one in model.parameters()] == [False, False, True, True]
    assert model[0].weight.grad == 1  # the mean of two


def test_fewer_cases_in_a_batch_than_processes_are_refused() -> None:
    check_batch(["a"], 3, 3, Path("data"))
    with pytest.raises(InputError, match=r"training\.batch is 2, for 3 processes to share; start at most 2"):
        check_batch(["a"], 2, 3, Path("data"))


@pytest.mark.parametrize("given, spent", [({"minutes": 1.0}, 3.0), ({"cpu_minutes": 1.0}, 6.0)])
def test_processes_agree_on_the_time_spent(given: dict[str, float], spent: float) -> None:
    """Two processes that took 2 and 4 seconds."""

    class TwoProcesses(DistributedContext):
        def all_reduce(self, *values: float) -> list[float]:
            return [value + 4.0 for value in values]

    budget = make_budget(TrainingSettings(**given), 5, TwoProcesses(0, 2))  # type: ignore[arg-type]
    budget.clock = iter([10.0, 12.0]).__next__
    budget.start_step()
    budget.end_step()
    assert budget.spent == spent


@pytest.mark.parametrize("size, cleaned_up", [("1", "cleaned up\n"), ("2", "")])
def test_one_of_several_processes_ends_without_clean_up(size: str, cleaned_up: str) -> None:
    program = "import atexit; from ldseg.__main__ import leave; atexit.register(print, 'cleaned up')"
    ended = subprocess.run(
        [sys.executable, "-c", f"{program}; print('said'); leave(3)"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WORLD_SIZE": size},
    )
    assert (ended.returncode, ended.stdout) == (3, "said\n" + cleaned_up)


def untimed(path: Path) -> dict[str, Any]:
    """What prediction.json says, but for when."""
    found = json.loads(path.read_text())
    for case in found["cases"].values():
        del case["time"]
    return found


def test_processes_train_folds_together_and_go_on_with_them(setup: Setup, tmp_path: Path) -> None:
    run, data = tmp_path / "run", setup.dataset.root
    words = ("--planning.batch", 2, "--training.validations", 1, "--training.calibrate", "false")
    trained = torchrun(2, "train", data, "-o", run, "--device", "cpu", "--folds", 2, "--steps", 1, *words)
    assert trained.returncode == 0, trained.stderr
    for fold in ("fold_0", "fold_1"):
        assert [r["step"] for r in read_records(run / fold)] == [1, 1]
    longer = torchrun(2, "train", data, "-o", run, "--device", "cpu", "--continue", "--steps", 2)
    assert longer.returncode == 0, longer.stderr
    assert "6 steps" in longer.stdout
    refused = torchrun(2, "train", data, "-o", run, "--continue", "--resume")
    assert refused.stderr.count("give one of them") == 1


def test_torchrun_trains_and_predicts(setup: Setup, tmp_path: Path) -> None:
    """The command as people type it; prediction is that of one process, bit for bit."""
    run, data = tmp_path / "run", setup.dataset.root
    words = ("--steps", 2, "--planning.batch", 3, "--device", "cpu", "--training.validations", 1)
    trained = torchrun(2, "train", data, "-o", run, *words)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("segment with it") == 1
    assert [r["step"] for r in read_records(run)] == [2, 2]
    images = data / "images"
    (images / "case9.png").write_bytes(b"not a picture")
    predict = ("predict", images, "-m", run, "--samples", 2, "--save", "labels,probabilities", "--keep-going")
    assert cli.main([*map(str, predict), "-o", str(tmp_path / "one"), "--device", "cpu"]) == 3
    together = torchrun(2, *predict, "-o", tmp_path / "two", "--device", "cpu")
    assert together.stderr.count("1 of 7 images failed: case9") == 1, together.stderr
    assert "6 of 7 images are segmented" in together.stdout
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 6 * 3 + 2
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in files:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        if name == "prediction.json":
            assert untimed(one) == untimed(two)
        elif name.endswith(".json"):
            assert one.read_bytes() == two.read_bytes(), name
        else:  # an OME-TIFF has a number of its own in its header
            assert np.array_equal(read_volume(one, "image").array, read_volume(two, "image").array), name
