"""Prediction of DICOM: the same answer as of the same voxels in another format, written as a segmentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("highdicom", reason="the extra dicom is not installed")

import pydicom
from dicom_builders import MR, a_series, a_single_image

from ldseg.app.cli.main import main
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.geometry import affine
from ldseg.inference.provenance_journal import read_records

MakeModel = Callable[..., Path]
Output = pytest.CaptureFixture[str]
OBLIQUE = (0.96, 0.0, -0.28, 0.0, -1.0, 0.0)


def run(*words: object) -> int:
    return main([str(word) for word in words])


def a_scan(folder: Path) -> Path:
    """Sixteen slices of noise, oblique."""
    voxels = np.random.default_rng(0).integers(0, 200, (16, 16, 16)).astype(np.int16)
    return a_series(folder, voxels, spacing=(1.0, 1.0, 1.0), orientation=OBLIQUE)


def test_a_series_has_the_labels_of_its_conversion(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model("zyx")
    scan = a_scan(tmp_path / "in" / "scan")
    image = read_volume(scan, "image")
    write_volume(tmp_path / "scan.nii.gz", replace(image, native=None))
    assert run("predict", tmp_path / "in", "-m", model, "-o", tmp_path / "a") == 0
    assert run("predict", tmp_path / "scan.nii.gz", "-m", model, "-o", tmp_path / "b") == 0
    own = read_volume(tmp_path / "a" / "scan.dcm", "labels")
    other = read_volume(tmp_path / "b" / "scan.nii.gz", "labels")
    assert len(np.unique(own.array)) > 1
    np.testing.assert_array_equal(own.array, other.array)
    np.testing.assert_allclose(affine(own), affine(image), atol=1e-9)


def test_maps_of_a_series_are_nifti_and_labels_are_what_is_asked_for(
    make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    model, scan = make_model("zyx"), a_scan(tmp_path / "scan")
    assert run("predict", scan, "-m", model, "-o", tmp_path / "a", "--save", "labels,uncertainty") == 0
    assert {path.name for path in (tmp_path / "a").glob("scan*")} >= {"scan.dcm", "scan_uncertainty.nii.gz"}
    words = ("predict", scan, "-m", model, "-o", tmp_path / "b")
    assert run(*words, "--format", "nii.gz") == 0
    np.testing.assert_array_equal(
        read_volume(tmp_path / "b" / "scan.nii.gz", "labels").array,
        read_volume(tmp_path / "a" / "scan.dcm", "labels").array,
    )
    assert run(*words, "--format", "docx") == 2
    assert "format is '.docx'; choose one of .nii.gz" in capsys.readouterr().err


def test_a_nifti_has_no_dicom_segmentation(make_model: MakeModel, tmp_path: Path, capsys: Output) -> None:
    image = replace(read_volume(a_scan(tmp_path / "scan"), "image"), native=None)
    write_volume(tmp_path / "scan.nii.gz", image)
    words = ("predict", tmp_path / "scan.nii.gz", "-m", make_model("zyx"), "-o", tmp_path / "out")
    assert run(*words, "--format", ".dcm") == 2
    assert "DICOM holds segmentations of DICOM images only" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.dcm"))


def code(value: str, meaning: str) -> dict[str, str]:
    return {"value": value, "scheme": "99TEST", "meaning": meaning}


@pytest.mark.parametrize("beside", [True, False])
def test_codes_come_from_the_model_or_a_file(
    beside: bool, make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    model, scan = make_model("zyx"), a_scan(tmp_path / "scan")
    file = model / "segments.json" if beside else tmp_path / "codes.json"
    given = () if beside else ("--segment-codes", file)
    words = ("predict", scan, "-m", model, "-o", tmp_path / "out", *given)
    codes = {"left": {"type": code("T-1", "Left thing"), "category": code("C-1", "Thing")}}
    file.write_text(json.dumps({"version": 1, "segments": codes}), encoding="utf-8")
    assert run(*words) == 0
    left, right = pydicom.dcmread(tmp_path / "out" / "scan.dcm").SegmentSequence
    assert (left.SegmentLabel, left.SegmentedPropertyTypeCodeSequence[0].CodeValue) == ("left", "T-1")
    assert (right.SegmentLabel, right.SegmentedPropertyTypeCodeSequence[0].CodeMeaning) == ("right", "Tissue")
    assert {str(one.SegmentDescription) for one in (left, right)} == {"label id 2", "label id 5"}
    file.write_text(json.dumps({"version": 1, "segments": {"up": {}}}), encoding="utf-8")
    assert run(*words) == 2
    assert "there is no class 'up'; choose among background, left, right" in capsys.readouterr().err


def test_films_have_nifti_labels(make_model: MakeModel, tmp_path: Path, capsys: Output) -> None:
    def frame(dataset: Any, number: int) -> None:
        dataset.ImagePositionPatient = [0.0, 0.0, 0.0]
        dataset.TriggerTime = 30.0 * number

    voxels = np.random.default_rng(0).integers(0, 200, (4, 16, 16)).astype(np.int16)
    film = a_series(tmp_path / "cine", voxels, change=frame, sop_class=MR)
    words = ("predict", film, "-m", make_model("tyx"), "-o", tmp_path / "out")
    assert run(*words) == 0
    read = read_volume(tmp_path / "out" / "cine.nii.gz", "labels", "tyx")
    assert (read.shape, read.spacing) == ((4, 16, 16), pytest.approx((0.03, 0.7, 0.5)))
    assert run(*words, "--format", "dcm") == 2
    assert "cine images have no DICOM segmentation" in capsys.readouterr().err


def test_each_picture_has_a_segmentation(make_model: MakeModel, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        a_single_image(tmp_path / "in" / f"{name}.dcm", rng.integers(0, 255, (16, 16), dtype=np.uint8))
    assert run("predict", tmp_path / "in", "-m", make_model("yx"), "-o", tmp_path / "out") == 0
    for name in ("a", "b"):
        assert read_volume(tmp_path / "out" / f"{name}.dcm", "labels", "yx").shape == (16, 16)


def test_a_bad_series_does_not_stop_the_others(make_model: MakeModel, tmp_path: Path, capsys: Output) -> None:
    a_scan(tmp_path / "in" / "good")
    bad = a_scan(tmp_path / "in" / "bad")
    (bad / "IM008.dcm").unlink()
    words = ("predict", tmp_path / "in", "-m", make_model("zyx"), "-o", tmp_path / "out", "--keep-going")
    assert run(*words) == 3
    assert "1 slice is missing" in capsys.readouterr().out
    assert (tmp_path / "out" / "good.dcm").is_file()
    assert not (tmp_path / "out" / "bad.dcm").exists()


def test_a_bad_series_ends_the_run_with_a_way_to_go_on(
    make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    a_scan(tmp_path / "in" / "good")
    bad = a_scan(tmp_path / "in" / "bad")
    (bad / "IM008.dcm").unlink()
    words = ("predict", tmp_path / "in", "-m", make_model("zyx"), "-o", tmp_path / "out")
    assert run(*words) == 2
    assert "1 slice is missing" in (said := capsys.readouterr().err)
    assert "add --keep-going to segment the other images" in said
    assert run("predict", bad, *words[2:]) == 2
    assert "--keep-going" not in capsys.readouterr().err


def test_what_has_no_segmentation_is_said_before_computing(
    make_model: MakeModel, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldseg.inference.predictor import Predictor

    scan = a_scan(tmp_path / "scan")
    for path in scan.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    words = ("predict", scan, "-m", make_model("zyx"), "-o", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Predictor, "predict_maps", lambda *_: pytest.fail("it was computed"))
        assert run(*words) == 2
    assert "does not say the size of its pixels" in (said := capsys.readouterr().err)
    assert "--format .nii.gz" in said
    assert run(*words, "--format", ".nii.gz") == 0


def test_a_study_is_segmented_beside_its_localizer(
    make_model: MakeModel, tmp_path: Path, capsys: Output
) -> None:
    study = a_scan(tmp_path / "study" / "volume").parent
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])

    def turn(dataset: Any, number: int) -> None:
        dataset.ImageOrientationPatient = planes[number]

    a_series(study / "scout", np.zeros((3, 16, 16), np.int16), series="scout", change=turn)
    for form in ("dcm", "nii.gz"):
        out = tmp_path / f"as_{form[:3]}"
        words = ("predict", study, "-m", make_model("zyx"), "-o", out, "--format", form)
        assert run(*words) == 0
        assert "skipped: 3 files, localizer" in capsys.readouterr().err
        (said,) = read_records(out).skipped
        assert said.startswith("skipped: 3 files, localizer")
        assert [path.name for path in out.glob(f"*.{form}")] == [f"volume.{form}"]
