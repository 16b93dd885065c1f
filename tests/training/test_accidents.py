"""Kills, full disks and second trainings: what was saved stays, and the end is the same."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_setup import Setup

from ldseg.api import train_run
from ldseg.errors import InputError
from ldseg.runs.files import STATE_FILE
from ldseg.runs.folder_lock import lock_folder
from ldseg.training.checkpoint import remove_partial_files
from ldseg.training.log_files import append_record, draw_curves, read_records
from ldseg.training.train_step import TrainStep
from ldseg.utils.serialization import write_bytes_atomic

if sys.platform != "win32":
    import resource


def remembered(run: Path) -> list[dict[str, object]]:
    """The log without what a clock says."""
    return [{key: value for key, value in r.items() if key != "seconds"} for r in read_records(run)]


def killed_in_step(setup: Setup, run: Path, step: int, **training: object) -> None:
    """Train in another process, which kills itself in the middle of a step."""
    child = os.fork()
    if child == 0:
        usual = TrainStep.run

        def step_and_die(self: TrainStep, *arguments: object) -> object:
            if arguments[2].step == step:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)
            return usual(self, *arguments)  # type: ignore[arg-type]

        TrainStep.run = step_and_die  # type: ignore[method-assign, assignment]
        setup.run(run, **training)  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_training_that_diverges_ends_at_once(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(
        InputError, match=r"at step 10 the segmentation loss is nan.*--training\.learning_rate"
    ):
        setup.run(run, steps=40, learning_rate=1e30, validations=0)
    assert not read_records(run)  # JSON has no word for what is no number
    assert not (run / STATE_FILE).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("save_minutes", [0.0, 9.0])
def test_killed_and_resumed_equals_uninterrupted(setup: Setup, tmp_path: Path, save_minutes: float) -> None:
    """With the second, it dies before its first checkpoint and begins again."""
    setup.run(tmp_path / "whole")
    killed_in_step(setup, tmp_path / "parts", 3, save_minutes=save_minutes)
    assert (tmp_path / "parts" / STATE_FILE).is_file() == (save_minutes == 0)
    ended = setup.run(tmp_path / "parts", resume=True)
    assert ended.steps == 4
    for name in ("model.safetensors", "best/model.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert remembered(tmp_path / "parts") == remembered(tmp_path / "whole")


def test_settings_are_there_from_the_first_step_on(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    usual = TrainStep.run

    def look(self: TrainStep, *arguments: object) -> object:
        seen.append((tmp_path / "run" / "settings.json").is_file())
        return usual(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainStep, "run", look)
    setup.run(tmp_path / "run", steps=1)
    assert seen == [True]


def test_what_a_killed_training_left_half_written_is_removed(tmp_path: Path) -> None:
    kept = ["model.safetensors", ".own notes", "best/plan.json", "cache/a-01234567/case.json"]
    left = [
        ".model.safetensors.ab_12cde",
        "best/.plan.json.01234567",
        "state/.training.safetensors.abcdefgh",
        "cache/a-01234567.part77/image.npy",
    ]
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in left)


def test_the_names_of_half_written_files_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ldseg.utils.serialization.os.fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        child = os.fork()
        if child == 0:
            write_bytes_atomic(tmp_path / f"{'long ' * 20}.json", b"x")
        os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    remove_partial_files(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
def test_a_full_disk_is_one_line_and_the_last_checkpoint_goes_on(setup: Setup, tmp_path: Path) -> None:
    setup.run(tmp_path / "whole", save_minutes=0.0)
    run = tmp_path / "run"
    killed_in_step(setup, run, 2, save_minutes=0.0)
    before = (run / STATE_FILE).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (10, 20_000, len(before) - 500):  # later states are a few bytes shorter or longer
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(InputError, match="no space left") as error:
                setup.run(run, resume=True, save_minutes=0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "\n" not in str(error.value)
        assert (run / STATE_FILE).read_bytes() == before
    setup.run(run, resume=True, save_minutes=0.0)
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
@pytest.mark.parametrize("write", [lambda folder: append_record(folder, {"event": "x" * 2000}), draw_curves])
def test_a_log_that_the_disk_refuses_is_one_line(write: object, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match="no space left"):
            write(tmp_path)  # type: ignore[operator]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("counters", ["{", "[]", '{"step": "x"}', '{"strange": 1}', "[" * 10**5, None])
def test_a_state_with_damaged_counters_is_refused(setup: Setup, tmp_path: Path, counters: str | None) -> None:
    setup.run(tmp_path / "run", steps=1)
    path = tmp_path / "run" / STATE_FILE
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    metadata.pop("counters")
    save_file(tensors, path, metadata | ({} if counters is None else {"counters": counters}))
    with pytest.raises(InputError, match="is damaged"):
        setup.run(tmp_path / "run", resume=True)


def test_a_state_of_other_parameters_is_refused(setup: Setup, tmp_path: Path) -> None:
    setup.run(tmp_path / "run", steps=1)
    path = tmp_path / "run" / STATE_FILE
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("optimizer."))
    metadata["counters"] = metadata["counters"].replace("true", "false")  # what has ended is not loaded
    save_file({**tensors, "optimizer.mean.elsewhere": tensors[name].clone()}, path, metadata)
    with pytest.raises(InputError, match="is damaged"):
        setup.run(tmp_path / "run", resume=True)


def test_a_folder_in_use_is_refused_before_anything_is_written(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (
        lock_folder(run, "training"),
        pytest.raises(InputError, match="another training is at work there"),
    ):
        train_run(setup.dataset.root, run, changes={"training": {"steps": 1}}, device="cpu")
    assert not run.exists()


def test_a_training_at_work_is_told_where_another_one_is_begun(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = {"training": {"steps": 1, "validations": 1}}
    train_run(setup.dataset.root, run, changes=changes, device="cpu")
    with lock_folder(run, "training"), pytest.raises(InputError, match="another training is at work there"):
        train_run(setup.dataset.root, run, changes=changes, device="cpu")
    with pytest.raises(InputError, match="holds a training already"):
        train_run(setup.dataset.root, run, changes=changes, device="cpu")


def test_a_training_lets_the_next_one_in(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = {"training": {"steps": 1, "validations": 1}}
    train_run(setup.dataset.root, run, changes=changes, device="cpu")
    assert json.loads((run / "settings.json").read_text())["training"]["steps"] == 1
    train_run(setup.dataset.root, run, resume=True, device="cpu")
    assert not (run / ".lock").exists()
