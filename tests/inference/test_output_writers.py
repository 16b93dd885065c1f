"""What holds for every output writer in the registry: it writes maps that read as they were, or refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.formats import holds_pictures_only, read_volume, write_with
from ldseg.data.volume import Axes, Kind, Volume
from ldseg.errors import InputError
from ldseg.inference.output_folder import prepare_folder
from ldseg.inference.output_writers import OUTPUT_WRITERS, find_output_writer, make_output_writer
from ldseg.inference.output_writers.base import OutputWriter
from ldseg.planning.plan import Plan

SHAPES: dict[Axes, tuple[int, ...]] = {"yx": (7, 10), "zyx": (4, 7, 10), "tyx": (4, 7, 10)}
EVERY = pytest.mark.parametrize("name", OUTPUT_WRITERS)
AXES = pytest.mark.parametrize("axes", SHAPES)


def writer_of(name: str, axes: Axes) -> OutputWriter:
    plan: Any = SimpleNamespace(axes=axes, classes={"background": 0, "structure": 1})
    return OUTPUT_WRITERS[name](plan)


def volume_of(array: NDArray[Any], axes: Axes, kind: Kind) -> Volume:
    d = len(axes)
    direction = tuple(float(one) for one in np.eye(d).ravel())
    return Volume(array, (1.0,) * d, (0.0,) * d, direction, axes, kind)


def read_again(writer: OutputWriter, folder: Path, volume: Volume, ending: str) -> NDArray[Any] | str:
    """Return what is read after `volume` was written, or the message if it is refused."""
    path = folder / f"a{ending}"
    try:
        if volume.kind == "labels":
            writer.check(volume, folder / "source")
        write_with(path, lambda staged: writer.write(staged, volume))
    except InputError as problem:
        return str(problem)
    return read_volume(path, volume.kind, volume.axes).array


def expect(found: NDArray[Any] | str, written: NDArray[Any], refused: bool, folder: Path) -> None:
    """Check that a map was read as it was written or, where it is refused, that there is no file."""
    if refused:
        assert str(found).startswith(f"{folder / 'a.'}")
        assert not list(folder.iterdir())
    else:
        np.testing.assert_array_equal(found, written)


@EVERY
@AXES
def test_labels_read_as_they_were_written(name: str, axes: Axes, tmp_path: Path) -> None:
    if holds_pictures_only(name) and axes != "yx":
        pytest.skip("it is refused before anything is computed")
    labels = np.random.default_rng(0).integers(0, 3, (1, *SHAPES[axes])).astype(np.uint8)
    writer = writer_of(name, axes)
    found = read_again(writer, tmp_path, volume_of(labels, axes, "labels"), writer.label_ending)
    if writer.label_ending == ".dcm":  # of images that were read from DICOM only
        assert str(found).startswith(f"{tmp_path / 'source'}: ")
    else:
        expect(found, labels, False, tmp_path)


@EVERY
@AXES
def test_numbers_read_as_they_were_written(name: str, axes: Axes, tmp_path: Path) -> None:
    if holds_pictures_only(name) and axes != "yx":
        pytest.skip("it is refused before anything is computed")
    writer = writer_of(name, axes)
    if writer.number_ending is None:
        pytest.skip("it writes label maps only")
    numbers = np.random.default_rng(0).random((2, *SHAPES[axes]), dtype=np.float32)
    found = read_again(writer, tmp_path, volume_of(numbers, axes, "image"), writer.number_ending)
    expect(found, numbers, writer.number_ending in (".mgz", ".mgh") and axes == "tyx", tmp_path)


@pytest.mark.parametrize("name", [name for name in OUTPUT_WRITERS if holds_pictures_only(name)])
@pytest.mark.parametrize("axes", ["zyx", "tyx"])
def test_pictures_of_volumes_are_refused(name: str, axes: Axes) -> None:
    with pytest.raises(
        InputError, match=rf"^format is \{name}, which holds 2D images only, .* {axes}; choose"
    ):
        writer_of(name, axes)


@pytest.mark.parametrize("name", [".nii.gz", ".mha", ".nrrd", ".png", ".tif"])
def test_the_usual_endings_write_2d_labels_with_that_ending(name: str) -> None:
    assert writer_of(name, "yx").label_ending == name


def test_an_unknown_writer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"format is '\.docx'; choose one of \.nii"):
        find_output_writer(".docx")


def test_a_writer_of_label_maps_only_gets_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Labels(OutputWriter):
        label_ending, number_ending = ".txt", None

        def __init__(self, plan: Plan) -> None:
            self.plan = plan

        def write(self, path: Path, volume: Volume) -> None:
            path.write_text(str(volume.array.sum()))

    monkeypatch.setitem(OUTPUT_WRITERS._entries, "sums", Labels)  # type: ignore[attr-defined]
    plan: Any = SimpleNamespace()
    assert isinstance(make_output_writer("sums", plan, ("labels", "samples")), Labels)
    with pytest.raises(InputError, match="format is sums, which holds label maps only; leave uncertainty"):
        make_output_writer("sums", plan, ("labels", "uncertainty"))


def test_a_result_never_takes_the_name_of_a_file_that_is_kept_there(tmp_path: Path) -> None:
    case = Case("plan", (tmp_path / "images" / "plan.png",), (), "plan")
    with pytest.raises(InputError, match=r"plan\.json: would be a result of plan, and is the name"):
        prepare_folder(tmp_path / "out", [case], {"plan": [tmp_path / "out" / "plan.json"]})
    assert not (tmp_path / "out").exists()
