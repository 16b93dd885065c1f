"""Every command of README and docs runs, page by page and in order, on small data under the names they use.

Budgets become two steps; what serves a page until it is interrupted is interrupted at once.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from dicom_builders import a_series
from documented import PAGES, commands
from tiny_models import make_tiny_model

from ldseg.app.cli.main import main
from ldseg.app.viewer.server import ViewerServer

DATA, SET = "DATA", "Dataset004_Hippocampus"
EXTRAS = {"dicom.md": "pydicom", "export.md": "onnxruntime"}
"""Pages of what needs an extra."""
TRAINED_ELSEWHERE = {"runs/first": DATA, "runs/hippocampus": SET}
"""Runs that pages begin with, and their data."""
SIZE, CASES = 16, 10


def a_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey volume (x, y, z) with a bright block, and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE,) * 3, np.uint8)
    mask[3:9, 4:11, 4:9], mask[9:13, 4:11, 4:9] = 1, 2
    return (60 * mask + rng.integers(0, 40, mask.shape)).astype(np.float32), mask


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)  # type: ignore[attr-defined]


def write_set(folder: Path) -> None:
    """nnU-Net v2 raw, with the cases that the pages name."""
    names = ["scan_017", "scan_101", *(f"scan_{n:03d}" for n in range(CASES - 2))]
    for seed, name in enumerate(names):
        image, mask = a_case(seed)
        save(folder / "imagesTr" / f"{name}_0000.nii.gz", image)
        save(folder / "labelsTr" / f"{name}.nii.gz", mask)
    words = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "lesion": 1, "other": 2},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(words))


def write_films(folder: Path) -> None:
    """Films of which one frame is labelled."""
    for seed in range(CASES):
        image, mask = a_case(seed)
        labels = np.full(mask.shape, 255, np.uint8)
        labels[..., 0] = mask[..., 5] > 0
        save(folder / "images" / f"p{seed}.nii.gz", image)
        save(folder / "labels" / f"p{seed}.nii.gz", labels)


def write_images(root: Path) -> None:
    """Images to predict, with masks to compare."""
    for name in ("a", "b"):
        image, mask = a_case(len(name))
        save(root / "new" / f"{name}.nii.gz", image)
        save(root / "reference" / f"{name}.nii.gz", mask)
    for name in ("scan", "scan_0000", "scan_0001"):
        save(root / f"{name}.nii.gz", a_case(7)[0])
    tifffile.imwrite(root / "slide.tif", np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the pages take for granted."""
    root = tmp_path_factory.mktemp("world")
    for name in (DATA, SET, f"elsewhere/{SET}"):
        write_set(root / name)
    write_films(root / "cine")
    write_images(root)
    for place, channels, axes in (("glands", 3, "yx"), ("brain", 2, "zyx")):
        make_tiny_model(root, axes, channels=channels).rename(make_room(root / "runs" / place))
    return root


def make_room(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world, which commands are run in."""
    copy = tmp_path / "here"
    shutil.copytree(world, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    monkeypatch.setattr(ViewerServer, "show", interrupted)
    return copy


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def shortened(line: str) -> list[str]:
    """The words of a command, with a budget of two steps."""
    words = shlex.split(line, comments=True)[1:]
    if words[0] != "train" or "--resume" in words:
        return words
    if "--minutes" in words:
        place = words.index("--minutes")
        del words[place : place + 2]
    return [*words, "--steps", "2"]


def prepare(page: str, lines: list[str]) -> None:
    """The runs and files that the page does not make itself."""
    text = " ".join(lines)
    for run, data in TRAINED_ELSEWHERE.items():
        if run in text and f"-o {run}" not in text.replace(f"-o {run}/", ""):
            assert main(["train", data, "-o", run, "--steps", "2", "--test-fraction", "0.3"]) == 0
    if page == "dicom.md":
        volume = np.transpose(a_case(3)[0], (2, 1, 0)).astype(np.int16)
        a_series(Path("study"), volume, name=lambda number: f"IM{number:04d}.dcm")
        code = {"value": "52988006", "scheme": "SCT", "meaning": "Lesion"}
        kind = {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"}
        content = {"version": 1, "segments": {"lesion": {"type": code, "category": kind}}}
        Path("codes.json").write_text(json.dumps(content))
    if page == "report.md":
        scores = ["predict", SET, "-m", "runs/hippocampus", "-o", "out", "--part", "test"]
        assert main(scores) == 0
        assert main(["evaluate", "out", SET, "-o", "scores.json", "--partial"]) == 0


NAMES = list(dict.fromkeys(page for page, _ in commands(PAGES)))


@pytest.mark.parametrize("page", NAMES)
def test_the_commands_of_a_page_run(page: str, here: Path) -> None:
    del here
    if page in EXTRAS:
        pytest.importorskip(EXTRAS[page])
    lines = [line for where, line in commands(PAGES) if where == page]
    prepare(page, lines)
    for line in lines:
        assert main(shortened(line)) == 0, line
