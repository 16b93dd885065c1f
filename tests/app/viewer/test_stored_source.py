"""An earlier prediction is shown as its files are, and as the model showed it."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from viewer_helpers import MakeModel, an_image

from ldseg.app.cli.main import main
from ldseg.app.viewer.model_source import ModelSource
from ldseg.app.viewer.session import SampledPrediction
from ldseg.app.viewer.stored_source import StoredSource
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError
from ldseg.inference.output import ignore_planes
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import read_plan


def a_file(folder: Path, axes: Axes) -> tuple[Path, Volume]:
    """An image as it is read."""
    path = folder / "scan.nii.gz"
    write_volume(path, an_image(axes))
    return path, read_volume(path, "image", axes)


def predict(path: Path, model: Path, out: Path, *words: str) -> None:
    given = [
        "predict",
        path,
        "-m",
        model,
        "-o",
        out,
        "--device",
        "cpu",
        "--samples",
        3,
        "--steps",
        2,
        "--seed",
        4,
    ]
    assert main([*map(str, given), *words]) == 0


def shown(source: StoredSource | ModelSource, path: Path, image: Volume) -> SampledPrediction:
    return source.predict(image, "scan", str(path), None, ignore_planes)


@pytest.mark.parametrize(("axes", "baseline"), [("yx", "none"), ("zyx", "none"), ("yx", "ssn")])
def test_it_is_what_the_model_showed(
    make_model: MakeModel, tmp_path: Path, axes: Axes, baseline: str
) -> None:
    model, (path, image) = make_model(axes, baseline=baseline), a_file(tmp_path, axes)
    predict(path, model, tmp_path / "out", "--save", "labels,probabilities,uncertainty,samples")
    predictor = Predictor.load(model, "cpu")
    made = shown(ModelSource(predictor, predictor.sampling(2, 3), 4), path, image)
    read = shown(StoredSource(tmp_path / "out"), path, image)
    assert read.layers.keys() == made.layers.keys()
    for name, layer in made.layers.items():
        np.testing.assert_allclose(read.layers[name].array, layer.array, atol=1e-6)
    assert (read.samples, read.sampling, read.seed) == (made.samples, made.sampling, made.seed)
    assert read.findings.volumes == made.findings.volumes


def test_labels_alone_have_a_size_without_an_interval(make_model: MakeModel, tmp_path: Path) -> None:
    model, (path, image) = make_model(), a_file(tmp_path, "yx")
    predict(path, model, tmp_path / "out")
    (summary,) = (tmp_path / "out").glob("*_summary.json")
    summary.unlink()
    read = shown(StoredSource(tmp_path / "out"), path, image)
    assert list(read.layers) == ["labels"]
    left = read.findings.volumes["left"]
    assert left.mean == (read.layers["labels"].array == 1).sum() * 1.5
    assert isnan(left.low)
    assert isnan(read.findings.confidence)
    assert read.seed == 4


def test_one_file_of_labels_needs_the_model_for_its_classes(make_model: MakeModel, tmp_path: Path) -> None:
    model, (path, image) = make_model(), a_file(tmp_path, "yx")
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "result.nii.gz"
    predict(path, model, file)
    with pytest.raises(InputError, match=r"has no plan.json beside it.* give the model as well"):
        StoredSource(file)
    read = shown(StoredSource(file, read_plan(model / "plan.json")), path, image)
    assert list(read.layers) == ["labels"]


def test_a_map_of_another_grid_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    model, (path, image) = make_model(), a_file(tmp_path, "yx")
    predict(path, model, tmp_path / "out", "--save", "labels,uncertainty")
    moved = replace(image, origin=(50.0, 0.0))
    with pytest.raises(InputError, match=r"voxels away from its image scan\.nii\.gz"):
        shown(StoredSource(tmp_path / "out"), path, moved)
