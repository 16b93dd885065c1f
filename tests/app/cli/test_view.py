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
from ldseg.app.viewer.case_list import CaseList
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

    def show(_: ViewerServer, cases: CaseList) -> None:
        for number in range(len(cases.names)):
            cases.open(number)
            cases.wait()
            session = cases.find(number)
            assert session is not None, cases.problem(number)
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
    assert session.prediction.sampling is not None
    assert (session.name, session.prediction.samples, session.prediction.sampling.steps) == ("p0", 2, 2)
    assert session.prediction.seed == 4


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
    assert list(shown[0].fixed) == ["image-1", "image-2"]


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


def test_a_folder_is_looked_at_case_by_case(
    picture: Path, make_model: MakeModel, shown: list[Session], capsys: Output
) -> None:
    Image.open(picture).save(picture.with_name("p1.png"))
    assert run(picture.parent, "-m", make_model(), "--no-browser", "--samples", 1) == 0
    assert [session.name for session in shown] == ["p0", "p1"]
    assert capsys.readouterr().err.count("segmenting p0") == 1


def test_an_earlier_prediction_is_shown_without_a_model(
    picture: Path,
    make_model: MakeModel,
    shown: list[Session],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, words = (
        tmp_path / "out",
        ["--samples", "3", "--device", "cpu", "--save", "labels,uncertainty,samples"],
    )
    assert main(["predict", str(picture), "-m", str(make_model()), "-o", str(out), *words]) == 0
    monkeypatch.delattr("ldseg.inference.ensemble_files.load_models")
    assert run(picture, "--prediction", out, "--no-browser") == 0
    groups = {layer.group for layer in shown[0].layers.values()}
    assert groups == {"image", "labels", "uncertainty", "disagreement", "sample", "variation"}


def test_a_reference_is_a_layer(
    picture: Path, make_model: MakeModel, shown: list[Session], tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((20, 24), 5, np.uint8)).save(mask)
    assert run(picture, "-m", make_model(), "--reference", mask, "--no-browser", "--samples", 1) == 0
    assert (shown[0].layers["reference-1"].array == 2).all()


@pytest.mark.parametrize(
    "words, finding",
    [
        ([], "give a model with -m, or --prediction"),
        (["-m", "MODEL", "--reference", "none"], "none: there is no such file or folder"),
        (["-m", "MODEL", "--reference", "empty"], "empty: has no mask of p0"),
        (["-m", "MODEL", "--reference", "small.png"], r"small.png: has shape (4, 4) but its image p0.png"),
        (["-m", "MODEL", "--reference", "ids.png"], "ids.png: has label ids outside the declared ones"),
        (["--prediction", "none"], "none: there is no such file or folder"),
        (["--prediction", "empty"], "empty: has no plan.json beside it"),
        (["--prediction", "empty", "-m", "MODEL"], "empty: has no prediction of p0"),
        (["--prediction", "empty", "--steps", "2"], "--steps is for a new prediction"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    picture: Path,
    make_model: MakeModel,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    finding: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("small.png")
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save("ids.png")
    model = make_model() if "MODEL" in words else None
    assert run(picture, *[model if word == "MODEL" else word for word in words]) == 2
    assert finding in complaint(capsys)


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
