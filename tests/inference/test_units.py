"""Predictions of images with and without a physical spacing: units, what is resampled, what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ldseg.app.cli.main import main
from ldseg.app.viewer.reading import read_case
from ldseg.app.viewer.stored_source import StoredSource
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.inputs import find_inputs
from ldseg.data.volume import Volume
from ldseg.evaluation.evaluate_folders import evaluate_folders
from ldseg.inference.output import ignore_planes
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan, write_plan

MakeModel = Callable[..., Path]
UNITS = {"yx": "pixels", "zyx": "voxels", "tyx": "pixels summed over frames"}


def trained(folder: Path, physical: bool | None, spacing: float = 2.0) -> Path:
    """The model, made for images of a spacing."""
    plan = read_plan(folder / "plan.json")
    steps = tuple(1.0 if axis == "t" else spacing for axis in plan.axes)
    write_plan(folder / "plan.json", replace(plan, physical_spacing=physical, spacing=steps))
    return folder


def image(axes: str, step: float = 1.0, physical: bool = False) -> Volume:
    shape = (6, 20, 24)[-len(axes) :]
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    steps = tuple(1.0 if axis == "t" else step for axis in axes)
    d = len(axes)
    direction = tuple(np.eye(d).ravel().tolist())
    return Volume(array, steps, (0.0,) * d, direction, axes, "image", physical=physical)  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx"])
def test_sizes_without_a_spacing_are_counted_in_voxels(make_model: MakeModel, axes: str) -> None:
    predictor = Predictor.load(trained(make_model(axes), True), "cpu")
    found = predictor(image(axes), steps=1, samples=2)
    assert found.volume_unit == UNITS[axes]
    structures = sum(one.mean for one in found.volumes.values())
    assert 0 <= structures <= found.labels.array.size
    assert "nothing says how large" in " ".join(found.notes)


def test_an_image_without_spacing_is_not_resampled_to_a_spacing_in_mm(make_model: MakeModel) -> None:
    model = make_model()
    as_it_is = Predictor.load(trained(model, None, 1.0), "cpu")(image("yx"))
    found = Predictor.load(trained(model, True, 2.0), "cpu")(image("yx"))
    np.testing.assert_array_equal(found.probabilities.array, as_it_is.probabilities.array)


def test_a_model_without_spacing_takes_the_pixels_of_an_image_with_one(make_model: MakeModel) -> None:
    model = trained(make_model(), False, 1.0)
    found = Predictor.load(model, "cpu")(image("yx", 0.5, physical=True))
    plain = Predictor.load(model, "cpu")(image("yx"))
    np.testing.assert_array_equal(found.probabilities.array, plain.probabilities.array)
    assert found.volume_unit == "mm^2"
    assert found.volumes["left"].mean == pytest.approx(plain.volumes["left"].mean / 4)
    assert found.notes == (
        "it has a physical spacing, but the model was trained without one: its pixels are taken as they are, "
        "not resampled",
    )
    assert plain.notes == ()


def test_the_same_kind_of_spacing_is_no_remark(make_model: MakeModel) -> None:
    found = Predictor.load(trained(make_model(), True), "cpu")(image("yx", 0.5, physical=True))
    assert (found.volume_unit, found.notes) == ("mm^2", ())


@pytest.mark.parametrize("table", [False, True])
def test_predict_says_so_in_words_and_in_its_files(
    make_model: MakeModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: bool
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(folder / "a.png")
    if table:
        (folder / "spacing.csv").write_text("filename,mm\na.png,2\n")
    model = trained(make_model(), True)
    words: list[Any] = ["predict", folder, "-m", model, "-o", out, "--samples", 2, "--save", "labels,samples"]
    assert main([str(word) for word in (*words, "--device", "cpu")]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "a_summary.json").read_text())
    told = "nothing says how large its pixels are"
    assert summary["volume_unit"] == ("mm^2" if table else "pixels")
    for text in (printed, (out / "prediction.json").read_text(), json.dumps(summary)):
        assert (told in text) != table


@pytest.mark.parametrize(("ending", "stated"), [(".nii.gz", True), (".mha", True), (".nii", False)])
def test_a_spacing_beside_a_volume_counts_and_its_labels_lie_on_its_own_grid(
    make_model: MakeModel, tmp_path: Path, ending: str, stated: bool
) -> None:
    folder, out, masks = tmp_path / "in", tmp_path / "out", tmp_path / "masks"
    for one in (folder, masks):
        one.mkdir()
        (one / "spacing.csv").write_text(f"filename,mm\na{ending},2 1 3\n")
    given = image("zyx", physical=True)
    write_volume(folder / f"a{ending}", given)
    write_volume(masks / f"a{ending}", given.with_array(np.uint8(2) * (given.array > 1), "labels"))
    for path in () if stated else (folder / f"a{ending}", masks / f"a{ending}"):
        content = path.read_bytes()
        header = nib.Nifti1Header(content[:348], check=False)
        header["sform_code"] = header["qform_code"] = header["pixdim"][1:4] = 0
        path.write_bytes(header.binaryblock + content[348:])
    words: list[Any] = ["predict", folder, "-m", trained(make_model("zyx"), True), "-o", out, "--samples", 2]
    assert main([str(word) for word in (*words, "--device", "cpu")]) == 0
    labels, own = read_volume(out / f"a{ending}", "labels"), read_volume(folder / f"a{ending}", "image")
    if stated:
        assert (labels.spacing, labels.origin, labels.direction) == (own.spacing, own.origin, own.direction)
    volumes = json.loads((out / "a_summary.json").read_text())["volumes"]
    (case,) = find_inputs([folder], 1, "zyx")
    source = StoredSource(out)
    seen = source.predict(read_case(case, source.plan)[0], "a", str(case.images[0]), None, ignore_planes)
    np.testing.assert_array_equal(seen.layers["labels"].array > 0, labels.array[0] > 0)
    assert {name: one.mean for name, one in seen.findings.volumes.items()} == {
        name: one["mean"] for name, one in volumes.items()
    }
    scores = evaluate_folders(out, masks).cases["a"]
    differences = [one.metrics["volume_difference_mm3"] for one in scores.values()]
    assert any(differences)
    assert all(difference % 6 == pytest.approx(0) for difference in differences)
