"""Nobody gets into a folder that is in use, and nobody is kept out by a process that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ldseg.errors import InputError
from ldseg.runs.files import LOCK_FILE
from ldseg.runs.folder_lock import lock_folder

HOLD = """
import os, sys, time
from pathlib import Path
from ldseg.runs.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1]), "training"):
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(60)  # a worker that outlives its parent
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, how: str = "alone") -> subprocess.Popen[str]:
    """Another process that is in."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_processes_are_not_let_in(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        with (
            pytest.raises(
                InputError, match=rf"run: another training .*process {process.pid} on .*choose another"
            ),
            lock_folder(tmp_path / "run", "training"),
        ):
            pass
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="there is neither fork nor SIGKILL")
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_process_keeps_nobody_out(how: str, tmp_path: Path) -> None:
    process = holder(tmp_path / "run", how)
    process.kill()
    process.wait()
    try:
        with lock_folder(tmp_path / "run", "training"):
            (tmp_path / "run" / "result").write_text("made")
    finally:
        if how == "fork":
            os.killpg(process.pid, signal.SIGKILL)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def test_one_process_does_not_let_itself_in_twice(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "training"):
        with pytest.raises(InputError, match="in this process"), lock_folder(tmp_path / ".", "training"):
            pass
        process_outside = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path), "alone"], capture_output=True, text=True, check=False
        )
        assert "another training is at work" in process_outside.stderr
    with lock_folder(tmp_path, "training"):
        pass


def test_nothing_is_left_where_nothing_was_made(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "a" / "b", "training"):
        assert (tmp_path / "a" / "b" / LOCK_FILE).is_file()
    assert not (tmp_path / "a" / "b").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), lock_folder(tmp_path / "file", "training"):
        pass
