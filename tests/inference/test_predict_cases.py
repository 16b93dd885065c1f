"""Many cases: files in the input's format and place, alone as in a batch, none half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from ldseg.data.cases import Case
from ldseg.data.formats import read_volume
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError
from ldseg.inference.predict_cases import PredictOptions, Summary, predict_cases
from ldseg.inference.predictor import Predictor

MakeModel = Callable[..., Path]
ALL = ("labels", "probabilities", "uncertainty", "samples")


def write_pictures(folder: Path, names: tuple[str, ...] = ("a", "b", "c"), ending: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        grey = np.random.default_rng(number).integers(0, 255, (20 + number, 30), np.uint8)
        Image.fromarray(grey).save(folder / f"{name}{ending}")
    return folder


def write_oblique(path: Path) -> Path:
    """A turned, anisotropic NIfTI with both transforms set and odd numbers in them."""
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, 0.9, 2.2])
    affine[:3, 3] = [-17.123, 5.4567, 100.1]
    array = np.random.default_rng(0).normal(100, 20, (18, 15, 7)).astype(np.int16)
    picture = nib.Nifti1Image(array, affine)
    picture.set_qform(affine, 1)
    picture.set_sform(affine, 2)
    nib.save(picture, path)
    return path


def predict(model: Path, inputs: Path, out: Path, **more: Any) -> Summary:
    predictor = Predictor.load(model, "cpu")
    keep_going = more.pop("keep_going", False)
    cases = find_inputs([inputs], len(predictor.plan.channels), predictor.plan.axes)
    return predict_cases(predictor, cases, out, PredictOptions(**more), keep_going)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_case_is_predicted_the_same_alone_and_among_others(make_model: MakeModel, tmp_path: Path) -> None:
    model, folder = make_model(), write_pictures(tmp_path / "in")
    predict(model, folder, tmp_path / "all", samples=2, save=ALL)
    for name in ("c", "a"):
        predict(model, folder / f"{name}.png", tmp_path / name, samples=2, save=ALL)
        for path in (tmp_path / name).glob(f"{name}*"):
            other = tmp_path / "all" / path.name
            assert path.read_bytes() == other.read_bytes(), path.name


def test_geometry_is_bit_equal_for_an_oblique_nifti(make_model: MakeModel, tmp_path: Path) -> None:
    source = write_oblique(tmp_path / "scan.nii.gz")
    predict(make_model("zyx"), source, tmp_path / "out", samples=2, save=ALL)
    wanted = nib.load(source)
    names = ["", "_probabilities", "_uncertainty", "_disagreement", "_sample1", "_sample2"]
    for name in names:
        found = nib.load(tmp_path / "out" / f"scan{name}.nii.gz")
        assert found.shape[:3] == wanted.shape
        for field in (
            "sform_code",
            "qform_code",
            "srow_x",
            "srow_y",
            "srow_z",
            "pixdim",
            "quatern_b",
            "qoffset_x",
        ):
            mine, theirs = np.ravel(found.header[field])[:4], np.ravel(wanted.header[field])[:4]
            assert np.array_equal(mine, theirs), (name, field)
    assert set(np.unique(nib.load(tmp_path / "out" / "scan.nii.gz").dataobj)) <= {0, 2, 5}


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii"])
def test_other_formats_keep_ending_and_place(make_model: MakeModel, tmp_path: Path, ending: str) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(7, 15, 18)).astype(np.float32))
    image.SetSpacing((0.7, 0.9, 2.2))
    image.SetOrigin((-17.125, 5.5, 100.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    source = tmp_path / f"scan{ending}"
    sitk.WriteImage(image, str(source))
    predict(make_model("zyx"), source, tmp_path / "out", save=("labels", "uncertainty"))
    before, after = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / "out" / f"scan{ending}"))
    assert after.GetSize() == before.GetSize()
    assert after.GetSpacing() == before.GetSpacing()
    assert after.GetOrigin() == before.GetOrigin()
    assert after.GetDirection() == before.GetDirection()


@pytest.mark.parametrize(
    "ending, labels", [(".png", ".png"), (".bmp", ".bmp"), (".jpg", ".png"), (".tif", ".tif")]
)
def test_pictures_keep_their_ending_where_the_format_can_hold_it(
    make_model: MakeModel, tmp_path: Path, ending: str, labels: str
) -> None:
    source = write_pictures(tmp_path / "in", ("a",), ending)
    predict(make_model(), source, tmp_path / "out", samples=2, save=ALL)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"a{labels}", f"a_sample1{labels}", f"a_sample2{labels}"} <= names
    assert {"a_probabilities.tif", "a_uncertainty.tif", "a_disagreement.tif", "a_summary.json"} <= names
    ids = read_volume(tmp_path / "out" / f"a{labels}", "labels").array
    assert ids.shape == (1, 20, 30)
    probabilities = read_volume(tmp_path / "out" / "a_probabilities.tif", "image", "yx").array
    np.testing.assert_array_equal(np.array([0, 2, 5])[probabilities.argmax(0)], ids[0])


def test_a_time_series_goes_through(make_model: MakeModel, tmp_path: Path) -> None:
    import tifffile

    frames = np.random.default_rng(0).integers(0, 255, (5, 18, 20), np.uint8)
    tifffile.imwrite(tmp_path / "cine.tif", frames, imagej=True, metadata={"axes": "TYX"})
    predict(make_model("tyx"), tmp_path / "cine.tif", tmp_path / "out", samples=2, save=ALL)
    assert read_volume(tmp_path / "out" / "cine.tif", "labels", "tyx").array.shape == (1, 5, 18, 20)
    summary = json.loads((tmp_path / "out" / "cine_summary.json").read_text())
    assert summary["volume_unit"] == "pixels summed over frames"


def test_the_summary_says_how_sure_the_volumes_are(make_model: MakeModel, tmp_path: Path) -> None:
    source = write_oblique(tmp_path / "scan.nii.gz")
    predict(make_model("zyx"), source, tmp_path / "out", samples=3, seed=4, save=("samples",))
    summary = json.loads((tmp_path / "out" / "scan_summary.json").read_text())
    assert summary["sampling"]["samples"] == 3
    assert summary["seed"] == 4
    for volume in summary["volumes"].values():
        assert volume["low"] <= volume["mean"] <= volume["high"]
    whole = 18 * 15 * 7 * 0.7 * 0.9 * 2.2
    assert sum(volume["mean"] for volume in summary["volumes"].values()) <= whole * 1.05


def test_only_what_was_asked_for_is_saved(make_model: MakeModel, tmp_path: Path) -> None:
    predict(make_model(), write_pictures(tmp_path / "in", ("a",)), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.png",
        "plan.json",
        "prediction.json",
    ]


def test_a_bad_case_stops_or_is_listed(make_model: MakeModel, tmp_path: Path) -> None:
    model, folder = make_model(), write_pictures(tmp_path / "in")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"b\.png: "):
        predict(model, folder, tmp_path / "stopped")
    assert (tmp_path / "stopped" / "a.png").exists()
    summary = predict(model, folder, tmp_path / "kept", keep_going=True)
    assert list(summary.done) == ["a", "c"]
    assert list(summary.failed) == ["b"]
    assert {path.name for path in (tmp_path / "kept").glob("*.png")} == {"a.png", "c.png"}


def test_nan_voxels_are_named_with_their_file(make_model: MakeModel, tmp_path: Path) -> None:
    source = tmp_path / "scan.nii.gz"
    array = np.zeros((16, 16, 16), np.float32)
    array[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(array, np.eye(4)), source)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: .*NaN"):
        predict(make_model("zyx"), source, tmp_path / "out")
    assert not (tmp_path / "out" / "scan.nii.gz").exists()


def test_a_failed_write_leaves_nothing_of_its_file(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if Path(target).suffix == ".png":
            raise OSError(28, "No space left on device")
        replace(source, target)

    folder, model = write_pictures(tmp_path / "in", ("a",)), make_model()
    monkeypatch.setattr("ldseg.data.formats.os.replace", full)
    with pytest.raises(InputError, match=r"a\.png: not written: no space left"):
        predict(model, folder, tmp_path / "out")
    assert names_in(tmp_path / "out") == ["plan.json", "prediction.json"]
    records = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert records["cases"] == {}
    assert "no space left" in records["failed"]["a"]


def test_a_result_never_takes_the_place_of_an_image_or_a_model(make_model: MakeModel, tmp_path: Path) -> None:
    model, folder = make_model(), write_pictures(tmp_path / "in", ("a",))
    before = (folder / "a.png").read_bytes()
    with pytest.raises(InputError, match="the result would replace the image"):
        predict(model, folder, folder)
    assert (folder / "a.png").read_bytes() == before
    with pytest.raises(InputError, match="is the folder of a training"):
        predict(model, folder, model)


def test_an_output_that_is_a_file_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="choose another folder with -o"):
        predict(make_model(), write_pictures(tmp_path / "in", ("a",)), tmp_path / "out")


@pytest.mark.parametrize("save", [(), ("labels", "mask")])
def test_unknown_outputs_are_refused(save: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="choose any of labels, probabilities, uncertainty, samples"):
        PredictOptions(save=save)


def test_events_tell_of_every_case(make_model: MakeModel, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "in", ("a", "b"))
    (folder / "b.png").write_bytes(b"")
    events: list[dict[str, Any]] = []
    predictor = Predictor.load(make_model(), "cpu")
    cases = [Case(name, (folder / f"{name}.png",), (), name) for name in ("a", "b")]
    predict_cases(predictor, cases, tmp_path / "out", PredictOptions(), True, events.append)
    assert [(event["event"], event["case"]) for event in events] == [("predicted", "a"), ("failed", "b")]
    assert events[0]["files"] == [str(tmp_path / "out" / "a.png")]
