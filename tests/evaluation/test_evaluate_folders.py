"""Folders of predictions against masks: matching by name, classes, faults with their remedy, partial sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ldseg.data.cases import DataOptions
from ldseg.data.formats import write_volume
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.evaluation.evaluate_folders import EvaluationOptions, evaluate_folders
from ldseg.evaluation.scores import to_json
from ldseg.inference.provenance_journal import ProvenanceJournal

SHAPE = (6, 8, 10)


def volume(array: np.ndarray, kind: str = "labels") -> Volume:
    direction = tuple(np.eye(3).ravel().tolist())
    made = Volume(array[None], (2.0, 1.0, 0.5), (5.0, -3.0, 7.0), direction, "zyx", "labels")
    return made if kind == "labels" else made.with_array(made.array.astype(np.float32), "image")


def mask(seed: int, ids: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, ids, SHAPE).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases, predicted as they are."""
    predictions, labels = tmp_path / "out", tmp_path / "labelsTs"
    for folder in (predictions, labels):
        folder.mkdir()
        for seed in range(3):
            write_volume(folder / f"case{seed}.nii.gz", volume(mask(seed)))
    return predictions, labels


def lines(problem: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_a_perfect_prediction_scores_one(folders: tuple[Path, Path]) -> None:
    scores = evaluate_folders(*folders)
    assert scores.mean_dice == 1
    assert list(scores.cases) == ["case0", "case1", "case2"]
    assert set(scores.metrics) == {"class_1", "class_2"}


def test_masks_are_not_scored_against_themselves(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, labels = folders
    with pytest.raises(InputError, match=r"reference mask itself.*; give the folder of predictions first"):
        evaluate_folders(labels, labels)
    linked = tmp_path / "linked"
    linked.symlink_to(labels)
    with pytest.raises(InputError, match="is the reference mask itself"):
        evaluate_folders(linked, labels)


def test_classes_are_named_by_the_dataset_json_above_the_labels(folders: tuple[Path, Path]) -> None:
    labels = {"background": 0, "head": 1, "tail": 2}
    (folders[1].parent / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert set(evaluate_folders(*folders).metrics) == {"head", "tail"}


def test_a_class_found_only_in_the_predictions_is_scored(folders: tuple[Path, Path]) -> None:
    strange = mask(0)
    strange[0, 0, 0] = 7
    write_volume(folders[0] / "case0.nii.gz", volume(strange))
    found = evaluate_folders(*folders).cases["case0"]["class_7"]
    assert (found.metrics["dice"], found.empty) == (0, "reference")


def test_a_data_set_of_images_and_masks_serves_as_reference(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for seed in range(3):
        write_volume(root / "images" / f"case{seed}.nii.gz", volume(mask(seed), "image"))
        write_volume(root / "labels" / f"case{seed}.nii.gz", volume(mask(seed)))
    assert evaluate_folders(folders[0], root).cases == evaluate_folders(*folders).cases


def test_several_raters_count_alike(folders: tuple[Path, Path]) -> None:
    predictions, labels = folders
    write_volume(labels / "case0_rater1.nii.gz", volume(mask(0)))
    write_volume(labels / "case0_rater2.nii.gz", volume(mask(5)))
    (labels / "case0.nii.gz").unlink()
    both = evaluate_folders(predictions, labels).cases["case0"]["class_1"].metrics["dice"]
    write_volume(labels / "case0_rater1.nii.gz", volume(mask(5)))
    second = evaluate_folders(predictions, labels).cases["case0"]["class_1"].metrics["dice"]
    assert both == pytest.approx((1 + second) / 2)


def test_the_ignore_id_is_left_out(folders: tuple[Path, Path]) -> None:
    reference = mask(0)
    reference[:, :, 5:] = 9
    write_volume(folders[1] / "case0.nii.gz", volume(reference))
    options = EvaluationOptions(data=DataOptions(ignore_id=9))
    assert evaluate_folders(*folders, options).mean_dice == 1


def test_instance_masks_are_one_class(folders: tuple[Path, Path]) -> None:
    """In a plain folder and in a data set; unasked, ninety ids are taken for a mistake."""
    predictions, labels = folders[0], folders[1].rename(folders[1].parent / "labels")
    (labels.parent / "images").mkdir()
    options = EvaluationOptions(data=DataOptions(labels_above_zero=True))
    for seed in range(3):
        write_volume(labels / f"case{seed}.nii.gz", volume(mask(seed, 90)))
        write_volume(predictions / f"case{seed}.nii.gz", volume((mask(seed, 90) > 0).astype(np.uint8)))
        write_volume(labels.parent / "images" / f"case{seed}.nii.gz", volume(mask(seed), "image"))
    for given in (labels, labels.parent):
        scores = evaluate_folders(predictions, given, options)
        assert scores.metrics.keys() == {"class_1"}
        assert scores.mean_dice == 1
        with pytest.raises(InputError, match="labels_above_zero"):
            evaluate_folders(predictions, given)


def test_other_results_of_a_case_are_not_its_prediction(folders: tuple[Path, Path]) -> None:
    write_volume(folders[0] / "case0_uncertainty.nii.gz", volume(mask(9), "image"))
    assert evaluate_folders(*folders).mean_dice == 1


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Two predicted pictures, three pixels beside the reference."""
    prediction, reference = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8)
    prediction[4, 2], reference[4, 5] = 1, 1
    for name, array in (("out", prediction), ("labels", reference)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        flat = Volume(array[None], (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "labels")
        for case in "ab":
            write_volume(tmp_path / "pictures" / name / f"{case}.png", flat)
    return tmp_path / "pictures" / "out", tmp_path / "pictures" / "labels"


def test_pictures_without_spacing_are_measured_in_pixels(pictures: tuple[Path, Path]) -> None:
    scores = evaluate_folders(*pictures)
    metrics = scores.cases["a"]["class_1"].metrics
    assert metrics["hd95_px"] == 3
    assert set(metrics) >= {"assd_px", "volume_difference_px"}
    assert not [name for name in metrics if "mm" in name]
    assert "tolerance_px" in to_json(scores)
    assert "tolerance_mm" not in to_json(scores)


def test_a_table_beside_the_masks_makes_their_scores_physical(pictures: tuple[Path, Path]) -> None:
    (pictures[1] / "spacing.csv").write_text("filename,mm\na.png,0.5\nb.png,0.5\n")
    metrics = evaluate_folders(*pictures).cases["a"]["class_1"].metrics
    assert metrics["hd95_mm"] == 1.5
    assert not [name for name in metrics if name.endswith("_px")]


def test_masks_with_and_without_spacing_are_not_scored_together(pictures: tuple[Path, Path]) -> None:
    (pictures[1] / "spacing.csv").write_text("filename,mm\na.png,0.5\n")
    with pytest.raises(
        InputError, match=r"b\.png: has no physical spacing where .*a\.png has one"
    ) as problem:
        evaluate_folders(*pictures)
    lines(problem)
    scores = evaluate_folders(*pictures, EvaluationOptions(keep_going=True))
    assert (list(scores.cases), list(scores.failed)) == (["a"], ["b"])


def test_a_tolerance_has_the_unit_of_the_masks(
    pictures: tuple[Path, Path], folders: tuple[Path, Path]
) -> None:
    near = evaluate_folders(*pictures, EvaluationOptions(tolerance_px=3))
    assert near.cases["a"]["class_1"].metrics["nsd"] == 1
    assert near.tolerance == 3
    assert evaluate_folders(*pictures).cases["a"]["class_1"].metrics["nsd"] == 0
    with pytest.raises(
        InputError, match="no physical spacing, which --tolerance-mm is not for; use --tolerance-px"
    ):
        evaluate_folders(*pictures, EvaluationOptions(tolerance_mm=1))
    with pytest.raises(
        InputError, match="a physical spacing, which --tolerance-px is not for; use --tolerance-mm"
    ):
        evaluate_folders(*folders, EvaluationOptions(tolerance_px=1))


def test_a_missing_prediction_is_named_and_partial_passes_over_it(folders: tuple[Path, Path]) -> None:
    (folders[0] / "case1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"no prediction for case1; .*--partial") as problem:
        evaluate_folders(*folders)
    assert str(folders[0]) in lines(problem)
    assert list(evaluate_folders(*folders, EvaluationOptions(partial=True)).cases) == ["case0", "case2"]


def asked_for(folder: Path, part: str, *names: str) -> None:
    ProvenanceJournal(folder).merge(parts={part: names})


def test_predictions_of_a_part_are_scored_on_that_part_alone(folders: tuple[Path, Path]) -> None:
    (folders[0] / "case1.nii.gz").unlink()
    asked_for(folders[0], "test", "case0", "case2")
    scores = evaluate_folders(*folders)
    assert (list(scores.cases), scores.part, scores.failed) == (["case0", "case2"], "test", {})
    assert to_json(scores)["part"] == "test"


def test_a_case_of_the_part_that_has_no_prediction_is_missing(folders: tuple[Path, Path]) -> None:
    for number in (1, 2):
        (folders[0] / f"case{number}.nii.gz").unlink()
    asked_for(folders[0], "test", "case0", "case2")
    with pytest.raises(InputError, match="no prediction for case2;"):
        evaluate_folders(*folders)


def test_where_more_than_a_part_was_asked_for_no_case_may_be_missing(folders: tuple[Path, Path]) -> None:
    (folders[0] / "case1.nii.gz").unlink()
    asked_for(folders[0], "test", "case0")
    journal = ProvenanceJournal(folders[0])
    journal.fail_case("case2", "case2.nii.gz: is damaged", [])  # by a command without --part
    journal.merge()
    with pytest.raises(InputError, match="no prediction for case1"):
        evaluate_folders(*folders)


def test_labels_beside_a_damaged_prediction_json_are_scored(folders: tuple[Path, Path]) -> None:
    (folders[0] / "prediction.json").write_text("{")
    assert evaluate_folders(*folders).part is None


def test_a_prediction_without_a_mask_is_named(folders: tuple[Path, Path]) -> None:
    write_volume(folders[0] / "other.nii.gz", volume(mask(0)))
    with pytest.raises(InputError, match=r"no mask for other\.nii\.gz") as problem:
        evaluate_folders(*folders)
    lines(problem)


@pytest.mark.parametrize(
    "fault, finding",
    [
        (lambda v: v.with_array(v.array, "labels"), None),
        (lambda v: replace(v, array=v.array[:, 1:]), r"shape \(5, 8, 10\)"),
        (lambda v: replace(v, origin=(6.0, -3.0, 7.0)), "2 voxels away"),
        (lambda v: replace(v, spacing=(2.0, 1.0, 0.6)), "different affine"),
    ],
)
def test_a_prediction_on_another_grid_is_refused(folders: tuple[Path, Path], fault, finding) -> None:
    write_volume(folders[0] / "case2.nii.gz", fault(volume(mask(2))))
    if finding is None:
        assert evaluate_folders(*folders).mean_dice == 1
        return
    with pytest.raises(InputError, match=finding) as problem:
        evaluate_folders(*folders)
    assert str(folders[0] / "case2.nii.gz") in lines(problem)


@pytest.mark.parametrize("turned", ["predictions", "masks"])
def test_prediction_and_mask_may_be_stored_another_way_round(folders: tuple[Path, Path], turned: str) -> None:
    plain = evaluate_folders(*folders)
    for path in sorted(folders[0 if turned == "predictions" else 1].glob("*.nii.gz")):
        flipped = sitk.DICOMOrient(sitk.ReadImage(str(path)), "SPR")
        sitk.WriteImage(flipped, str(path))
    again = evaluate_folders(*folders)
    for name, classes in plain.cases.items():
        for structure, scores in classes.items():
            assert again.cases[name][structure].metrics == pytest.approx(scores.metrics)


def test_a_mask_that_is_cut_to_its_structures_is_scored_as_the_whole_one(folders: tuple[Path, Path]) -> None:
    plain = evaluate_folders(*folders)
    for path in sorted(folders[1].glob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        boxes = sitk.LabelShapeStatisticsImageFilter()
        boxes.Execute(image > 0)
        x, y, z, *size = boxes.GetBoundingBox(1)
        cut = image[x : x + size[0], y : y + size[1], z : z + size[2]]
        sitk.WriteImage(cut, str(path.with_name(path.name.replace(".nii.gz", ".nrrd"))))
        path.unlink()
    assert evaluate_folders(*folders).mean_dice == plain.mean_dice


def test_undeclared_ids_are_refused_where_classes_are_declared(folders: tuple[Path, Path]) -> None:
    (folders[1] / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "head": 1, "tail": 2}}))
    strange = mask(0)
    strange[0, 0, 0] = 7
    write_volume(folders[0] / "case0.nii.gz", volume(strange))
    with pytest.raises(
        InputError, match=r"case0\.nii\.gz: the prediction holds label ids that are no class \(7;"
    ):
        evaluate_folders(*folders)


def test_keep_going_scores_the_others_and_lists_what_failed(folders: tuple[Path, Path]) -> None:
    predictions, labels = folders
    (predictions / "case0.nii.gz").write_bytes((labels / "case0.nii.gz").read_bytes()[:80])
    (predictions / "case1.nii.gz").unlink()
    scores = evaluate_folders(predictions, labels, EvaluationOptions(keep_going=True))
    assert list(scores.cases) == ["case2"]
    assert set(scores.failed) == {"case0", "case1"}
    assert "case0.nii.gz" in scores.failed["case0"]


def test_nothing_to_score_is_an_error_even_when_going_on(folders: tuple[Path, Path]) -> None:
    for file in folders[0].iterdir():
        file.unlink()
    with pytest.raises(InputError, match="nothing could be scored"):
        evaluate_folders(*folders, EvaluationOptions(keep_going=True))


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_is_not_there_is_named(folders: tuple[Path, Path], which: int) -> None:
    given = list(folders)
    given[which] = folders[which].parent / "nowhere"
    with pytest.raises(InputError, match="nowhere: there is no such"):
        evaluate_folders(*given)


def test_what_aligning_a_file_changed_is_told_once_for_all_files(folders: tuple[Path, Path]) -> None:
    for seed in range(3):
        turned = volume(np.ascontiguousarray(mask(seed)[:, :, ::-1]))
        direction = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        origin = (turned.origin[0] + 0.5 * (SHAPE[2] - 1), *turned.origin[1:])
        write_volume(folders[0] / f"case{seed}.nii.gz", replace(turned, direction=direction, origin=origin))
    told: list[str] = []
    assert evaluate_folders(*folders, on_remark=told.append).mean_dice == 1
    assert len(told) == 1
    assert told[0].startswith("3 predictions, e.g. ")
    assert "is stored in another orientation than its reference; reoriented by its geometry" in told[0]
