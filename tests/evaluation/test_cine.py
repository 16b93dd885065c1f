"""Cine metrics: areas, ejection fractions, agreement of neighbouring frames, sums over slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldseg.data.cases import DataOptions
from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume
from ldseg.evaluation.case_metrics import evaluate_case, evaluate_cine
from ldseg.evaluation.evaluate_folders import EvaluationOptions, evaluate_folders
from ldseg.evaluation.scores import Scores, read_scores, to_json, write_scores
from ldseg.metrics.cine import CineMetrics, sum_slices

CLASSES = {"background": 0, "cavity": 1}
IGNORED = 255
WIDTHS = (8, 6, 4, 6)


def cine(widths: tuple[int, ...] = WIDTHS) -> Volume:
    """A bar of so many pixels in each frame; pixels of 2 x 0.5 mm."""
    array = np.zeros((1, len(widths), 4, 10), dtype=np.uint8)
    for frame, width in enumerate(widths):
        array[0, frame, 1, :width] = 1
    direction = tuple(np.eye(3).ravel().tolist())
    return Volume(array, (1.0, 2.0, 0.5), (0.0, 0.0, 0.0), direction, "tyx", "labels")


def labelled_at(frames: tuple[int, ...], volume: Volume) -> Volume:
    array = volume.array.copy()
    array[0, [frame for frame in range(array.shape[1]) if frame not in frames]] = IGNORED
    return replace(volume, array=array)


def cavity(prediction: Volume, reference: Volume) -> CineMetrics:
    return evaluate_cine(prediction, reference, CLASSES, IGNORED)["cavity"]


def test_areas_are_in_square_mm() -> None:
    assert cavity(cine(), cine()).areas == (8, 6, 4, 6)


def test_the_ejection_fraction_is_what_the_largest_area_loses() -> None:
    assert cavity(cine(), cine()).ejection_fraction == pytest.approx(0.5)


def test_frames_without_labels_have_no_reference_area() -> None:
    assert cavity(cine(), labelled_at((0, 2), cine())).reference_areas == (8, None, 4, None)


def test_a_frame_labelled_in_part_has_no_reference_area() -> None:
    reference = cine()
    reference.array[0, 1, 3, 9] = IGNORED
    assert cavity(cine(), reference).reference_areas == (8, None, 4, 6)


def test_fractions_are_compared_on_the_labelled_frames() -> None:
    found = cavity(cine((8, 2, 4, 6)), labelled_at((0, 2), cine()))
    assert found.ejection_fraction == pytest.approx(0.75)
    assert found.labelled_ejection_fraction == found.reference_ejection_fraction == pytest.approx(0.5)


def test_neighbouring_frames_are_compared() -> None:
    assert cavity(cine((8, 4)), cine((8, 4))).neighbour_dice == pytest.approx(8 / 12)


def test_the_references_neighbours_must_both_be_labelled() -> None:
    assert cavity(cine(), labelled_at((0, 2), cine())).reference_neighbour_dice is None
    assert cavity(cine(), labelled_at((0, 1), cine())).reference_neighbour_dice == pytest.approx(12 / 14)


def test_without_structure_there_is_no_fraction() -> None:
    found = cavity(cine((0, 0)), cine((0, 0)))
    assert found.ejection_fraction is None
    assert found.neighbour_dice is None


def test_slices_add_up_to_their_subject() -> None:
    first, second = cine((8, 4)), cine((2, 2))
    whole = sum_slices([cavity(first, first), cavity(second, labelled_at((0,), second))])
    assert whole.areas == (10, 6)
    assert whole.reference_areas == (10, None)
    assert whole.ejection_fraction == pytest.approx(0.4)


@pytest.fixture
def scored(tmp_path: Path) -> Scores:
    """Two slices of one patient, predicted as they are, two frames labelled."""
    for folder in ("out", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(2):
        name = f"heart_slice{number}.nii.gz"
        write_volume(tmp_path / "out" / name, cine())
        write_volume(tmp_path / "labels" / name, labelled_at((0, 2), cine()))
    data = DataOptions(axes="tyx", ignore_id=IGNORED, subject_pattern="(.+)_slice")
    return evaluate_folders(tmp_path / "out", tmp_path / "labels", EvaluationOptions(data=data))


def test_a_folder_of_cine_images_has_metrics_of_cases_and_subjects(scored: Scores) -> None:
    found = to_json(scored)
    assert set(found["cycle"]) == {"heart_slice0", "heart_slice1"}
    (one,) = found["subject_cycle"]["heart"].values()
    assert one["area_mm2"] == (16, 12, 8, 12)
    assert one["reference_ejection_fraction"] == pytest.approx(0.5)


def test_cine_metrics_are_read_back(scored: Scores, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", scored)
    assert read_scores(tmp_path / "scores.json").cine == scored.cine


def test_slices_of_unequal_length_are_no_subject(scored: Scores) -> None:
    shorter = evaluate_cine(cine((8, 4)), cine((8, 4)), CLASSES)
    over_time = {**scored.cine, "heart_slice1": {"class_1": shorter["cavity"]}}
    assert replace(scored, cine=over_time).subject_cine() == {}


def test_areas_without_a_spacing_are_in_pixels(tmp_path: Path) -> None:
    flat = replace(cine(), spacing=(1.0, 1.0, 1.0), physical=False)
    (one,) = evaluate_cine(flat, flat, CLASSES).values()
    assert not one.physical
    case = evaluate_case(flat, flat, CLASSES)
    scores = Scores({"a": case}, CLASSES, 1.0, cine={"a": {"cavity": one}})
    write_scores(tmp_path / "scores.json", scores)
    text = (tmp_path / "scores.json").read_text()
    assert '"area_px"' in text
    assert "mm2" not in text
    assert read_scores(tmp_path / "scores.json").cine == scores.cine
