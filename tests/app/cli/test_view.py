"""`ldseg view`: what it complains of, and how it ends. The page itself is tested in tests/viewer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ldseg.app.cli.main import main
from ldseg.app.viewer.server import ViewerServer
from ldseg.app.viewer.session import Session

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey one."""
    path = tmp_path / "images" / "p0.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 24)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions that were shown; each is interrupted at once."""
    sessions: list[Session] = []

    def show(_: ViewerServer, session: Session) -> None:
        sessions.append(session)
        raise KeyboardInterrupt

    monkeypatch.setattr(ViewerServer, "show", show)
    return sessions


def run(*words: object) -> int:
    return main(["view", *map(str, words), "--device", "cpu"])


def complaint(output: Output) -> str:
    """The last line on stderr."""
    said = output.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    line = said.err.strip().splitlines()[-1]
    assert line.startswith("ldseg: error: ")
    return line


def test_it_prints_its_address_and_ends_well_when_interrupted(
    picture: Path, make_model: MakeModel, shown: list[Session], capsys: Output
) -> None:
    assert run(picture, "-m", make_model(), "--no-browser", "--samples", 2, "--steps", 2, "--seed", 4) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    (session,) = shown
    assert (session.name, session.prediction.samples, session.sampling.steps, session.seed) == ("p0", 2, 2, 4)


def test_it_opens_the_page_unless_told_not_to(
    picture: Path,
    make_model: MakeModel,
    shown: list[Session],
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run(picture, "-m", make_model(), "--no-browser", "--samples", 1) == 0
    assert opened == []
    capsys.readouterr()
    assert run(picture, "-m", make_model(), "--samples", 1) == 0
    assert opened == [capsys.readouterr().out.strip()]
    assert len(shown) == 2


def test_channels_in_files_of_their_own_are_one_image(
    tmp_path: Path, make_model: MakeModel, shown: list[Session]
) -> None:
    paths = [tmp_path / f"p_000{n}.png" for n in (0, 1)]
    for path in paths:
        Image.fromarray(np.arange(480, dtype=np.uint8).reshape(20, 24)).save(path)
    assert run(*paths, "-m", make_model("yx", "none", "default", 2), "--no-browser", "--samples", 1) == 0
    assert list(shown[0].images) == ["image-1", "image-2"]


def test_a_missing_image_or_model_is_one_line(
    picture: Path, tmp_path: Path, make_model: MakeModel, capsys: Output
) -> None:
    assert run(tmp_path / "no.png", "-m", make_model()) == 2
    assert "no.png: there is no such file" in complaint(capsys)
    assert run(picture, "-m", tmp_path / "no") == 2
    assert "no: there is no such folder" in complaint(capsys)


def test_an_image_that_the_model_cannot_take_is_one_line(
    picture: Path, make_model: MakeModel, capsys: Output
) -> None:
    assert run(picture, "-m", make_model("zyx")) == 2
    assert "p0.png" in complaint(capsys)
    assert run(picture, "-m", make_model("yx", "none", "default", 2)) == 2
    assert "p0.png: has 1 channels" in complaint(capsys)


def test_several_images_are_too_many(picture: Path, make_model: MakeModel, capsys: Output) -> None:
    Image.open(picture).save(picture.with_name("p1.png"))
    assert run(picture.parent, "-m", make_model()) == 2
    assert "has 2 images (p0, p1); give one of them" in complaint(capsys)


def test_an_image_too_large_to_be_held_is_refused(
    picture: Path, make_model: MakeModel, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(*_: Any) -> bool:
        return True

    monkeypatch.setattr("ldseg.inference.tiled_tiff.is_large", large)
    assert run(picture, "-m", make_model()) == 2
    assert "too large" in complaint(capsys)


def test_a_taken_port_is_one_line_before_anything_is_computed(
    picture: Path, make_model: MakeModel, capsys: Output
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(picture, "-m", make_model(), "--port", port) == 2
        said = capsys.readouterr().err
    assert f"port {port} cannot be used" in said
    assert "segmenting" not in said


def test_no_steps_at_all_are_one_line(picture: Path, make_model: MakeModel, capsys: Output) -> None:
    assert run(picture, "-m", make_model(), "--no-browser", "--steps", 0) == 2
    assert "steps is 0; choose 1 or more" in complaint(capsys)
