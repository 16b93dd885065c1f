"""The fingerprint of small sets made here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planning_sets import write_pictures

from ldseg.data.dataset import DataOptions, open_dataset
from ldseg.errors import InputError
from ldseg.planning.fingerprint import read_fingerprint, take_fingerprint, write_fingerprint
from ldseg.planning.plan import PlanSettings, make_plan


def test_it_counts_shapes_classes_and_widths(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path))
    found = take_fingerprint(data, data.cases)
    assert [case.shape for case in found.cases] == [(40, 60)] * 3
    one, two = found.classes
    assert (one.cases, two.cases) == (3, 1)
    assert one.volume_median == 144
    assert two.frequency == pytest.approx(6 * 45 / (3 * 2400), rel=1e-5)
    np.testing.assert_allclose(one.width, (12, 12))
    np.testing.assert_allclose(two.width, (6, 45), rtol=0.3)
    assert not found.colour


def test_a_case_with_several_raters_counts_once(tmp_path: Path) -> None:
    masks = write_pictures(tmp_path) / "masks"
    for path in sorted(masks.iterdir()):
        path.with_stem(f"{path.stem}_rater2").write_bytes(path.read_bytes())
        path.rename(path.with_stem(f"{path.stem}_rater1"))
    data = open_dataset(tmp_path)
    assert [one.cases for one in take_fingerprint(data, data.cases).classes] == [3, 1]


def test_intensities_are_those_of_the_foreground(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path))
    channel = take_fingerprint(data, data.cases).channels[0]
    assert channel.whole_numbers
    assert channel.minimum == 0
    assert channel.low >= 40
    assert 40 < channel.mean < 110


def test_colour_is_told_from_grey_stored_three_times(tmp_path: Path) -> None:
    colour = open_dataset(write_pictures(tmp_path / "colour", colour=True))
    assert take_fingerprint(colour, colour.cases).colour
    grey = write_pictures(tmp_path / "grey")
    for path in (grey / "images").iterdir():
        Image.open(path).convert("RGB").save(path)
    data = open_dataset(grey)
    if len(data.channel_names) == 3:
        assert not take_fingerprint(data, data.cases).colour


def test_it_is_deterministic_and_comes_back_from_its_file(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path / "set"))
    first, second = (take_fingerprint(data, data.cases) for _ in range(2))
    write_fingerprint(tmp_path / "a.json", first)
    write_fingerprint(tmp_path / "b.json", second)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_fingerprint(tmp_path / "a.json") == first


def test_the_ignore_id_counts_nowhere(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path), DataOptions(ignore_id=2))
    found = take_fingerprint(data, data.cases)
    assert [one.name for one in found.classes] == ["class_1"]
    assert found.classes[0].frequency == pytest.approx(3 * 144 / (3 * 2400 - 270), rel=1e-5)


def test_empty_masks_and_no_cases_are_the_users_fault(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path))
    with pytest.raises(InputError, match="no case"):
        take_fingerprint(data, ())
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(np.zeros((40, 60), dtype=np.uint8)).save(path)
    with pytest.raises(InputError, match="empty"):
        take_fingerprint(replace(data), data.cases)


def test_it_knows_whether_the_images_have_a_physical_spacing(tmp_path: Path) -> None:
    data = open_dataset(write_pictures(tmp_path))
    assert take_fingerprint(data, data.cases).physical is False
    known = open_dataset(tmp_path, DataOptions(spacing=(0.5, 0.5)))
    found = take_fingerprint(known, known.cases)
    assert found.physical is True
    assert make_plan(found, known, PlanSettings()).physical_spacing is True


def test_images_with_and_without_a_spacing_are_not_planned_together(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "spacing.csv").write_text("filename,mm\ncase_0.png,0.25\n")
    data = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"case_1\.png: has no physical spacing where .*case_0\.png has one"):
        take_fingerprint(data, data.cases)
