"""Units of lengths and sizes, with and without a physical spacing."""

from __future__ import annotations

from pathlib import Path

import pytest
from volume_builders import mask, save_image

from ldseg.data.checks import check
from ldseg.data.dataset import DataOptions, load_image, open_dataset
from ldseg.data.inputs import find_inputs
from ldseg.data.loading import load_input
from ldseg.data.units import (
    OneUnit,
    length_text,
    length_words,
    mismatch_note,
    pretty,
    size_suffix,
    size_unit,
    spacing_words,
    voxel_size,
)
from ldseg.errors import InputError


def test_one_of_a_unit_is_singular() -> None:
    assert length_text("yx", False, 1) == "1 pixel"
    assert length_text("zyx", False, 2.5) == "2.5 voxels"
    assert length_text("zyx", True, 1) == "1 mm"


def write_images(root: Path, number: int = 3) -> Path:
    for n in range(number):
        save_image(root / f"images/{n}.png")
        mask(root / f"labels/{n}.png", (0, 1))
    return root


@pytest.mark.parametrize(
    ("axes", "physical", "unit", "suffix", "length"),
    [
        ("yx", True, "mm^2", "mm2", "mm"),
        ("zyx", True, "mm^3", "mm3", "mm"),
        ("tyx", True, "mm^2 summed over frames", "mm2", "mm"),
        ("yx", False, "pixels", "px", "pixels"),
        ("zyx", False, "voxels", "px", "voxels"),
        ("tyx", False, "pixels summed over frames", "px", "pixels"),
    ],
)
def test_units_follow_from_the_axes_and_the_spacing(
    axes: str, physical: bool, unit: str, suffix: str, length: str
) -> None:
    assert size_unit(axes, physical) == unit  # type: ignore[arg-type]
    assert size_suffix(axes, physical) == suffix  # type: ignore[arg-type]
    assert length_words(axes, physical) == length  # type: ignore[arg-type]
    assert "^" not in pretty(unit)


def test_a_frame_has_an_area_whatever_its_time() -> None:
    assert voxel_size("tyx", (0.04, 2.0, 3.0)) == 6
    assert voxel_size("zyx", (0.5, 2.0, 3.0)) == 3


@pytest.mark.parametrize(
    ("physical", "trained", "said"),
    [
        (True, True, None),
        (False, False, None),
        (False, None, None),
        (False, True, "nothing says how large its pixels are"),
        (True, False, "the model was trained without one"),
    ],
)
def test_an_image_that_differs_from_training_in_its_spacing_is_told(
    physical: bool, trained: bool | None, said: str | None
) -> None:
    note = mismatch_note("yx", physical, trained)
    assert (note is None) == (said is None)
    assert said is None or said in (note or "")


def test_units_are_never_mixed() -> None:
    units = OneUnit()
    units.add("a", True)
    units.add("b", True)
    with pytest.raises(InputError, match=r"^c: has no physical spacing where a has one.*spacing\.csv"):
        units.add("c", False)


def test_check_calls_a_set_of_both_units_a_fault(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "spacing.csv").write_text("filename,mm\n0.png,0.25\n1.png,0.5\n")
    (fault,) = check(open_dataset(tmp_path)).faults
    assert fault.file == "2"
    assert "1 of 3 images have no physical spacing (2), others such as 0 have one" in fault.finding
    assert "--data.spacing" in fault.remedy


def test_check_says_that_a_set_is_measured_in_pixels(tmp_path: Path) -> None:
    report = check(open_dataset(write_images(tmp_path)))
    assert not any(row.physical for row in report.rows)
    assert any("distances and sizes are in pixels" in hint for hint in report.hints)


@pytest.mark.parametrize("way", ["table", "option"])
def test_a_table_or_an_option_makes_a_set_physical(tmp_path: Path, way: str) -> None:
    write_images(tmp_path)
    options = DataOptions(spacing=(0.5, 0.5) if way == "option" else None)
    if way == "table":
        (tmp_path / "spacing.csv").write_text("filename,mm\n0.png,0.5\n1.png,0.5\n2.png,0.5\n")
    dataset = open_dataset(tmp_path, options)
    image = load_image(dataset, dataset.cases[0])
    assert (image.physical, image.spacing) == (True, (0.5, 0.5))
    assert check(dataset).faults == ()


def test_an_image_to_predict_takes_its_spacing_from_the_table_beside_it(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    (tmp_path / "spacing.csv").write_text("filename,mm\na.png,0.5\n")
    known, unknown = (load_input(case, 1, "yx") for case in find_inputs([tmp_path], 1, "yx"))
    assert (known.physical, known.spacing) == (True, (0.5, 0.5))
    assert (unknown.physical, unknown.spacing) == (False, (1.0, 1.0))


def test_a_table_may_name_files_without_their_ending(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "spacing.csv").write_text("filename,mm\na,0.5\n")
    (case,) = find_inputs([tmp_path], 1, "yx")
    assert case.spacing == (0.5, 0.5)


def test_a_spacing_is_shown_with_its_unit() -> None:
    assert spacing_words("zyx", (2.0, 0.5, 0.5), physical=True) == "2 x 0.5 x 0.5 mm"
    assert spacing_words("zyx", (1.0, 1.0, 1.0), physical=False) == "unknown: sizes are in voxels"
    assert spacing_words("yx", (2.0, 2.0), physical=False) == "2 x 2 pixels"
    assert spacing_words("tyx", (0.04, 0.5, 0.3), physical=True) == "0.5 x 0.3 mm, frames 0.04 apart"
