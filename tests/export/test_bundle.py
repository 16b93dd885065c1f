"""A bundle is what monai.bundle takes, and it predicts as the model does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, run, verify_net_in_out

from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError
from ldseg.evaluation.out_of_distribution_fit import fit_detector
from ldseg.export.bundle import export_bundle
from ldseg.export.bundle_run import BundleRun, PatchNetwork
from ldseg.inference.out_of_distribution import store_detector
from ldseg.inference.predict_cases import PredictOptions, predict_cases
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration, store_calibration

MakeModel = Callable[..., Path]
REQUIRED = {
    "schema": str,
    "version": str,
    "changelog": dict,
    "monai_version": str,
    "pytorch_version": str,
    "numpy_version": str,
    "required_packages_version": dict,
    "task": str,
    "description": str,
    "authors": str,
    "copyright": str,
    "network_data_format": dict,
}
"""Of MONAI's bundle specification; its own check wants to download the schema."""
OF_A_TENSOR = {
    "type": str,
    "format": str,
    "num_channels": int,
    "spatial_shape": list,
    "dtype": str,
    "value_range": list,
    "is_patch_data": bool,
    "channel_def": dict,
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two volumes."""
    (tmp_path / "images").mkdir()
    for seed, name in enumerate(("a", "b")):
        array = np.random.default_rng(seed).normal(size=(12, 20, 16)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "images" / f"{name}.nii.gz")
    return tmp_path / "images"


def test_a_bundle_has_the_specified_files_and_no_pickle(make_model: MakeModel, tmp_path: Path) -> None:
    bundle = export_bundle(make_model(), tmp_path / "bundle")
    assert sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()) == [
        "configs/inference.json",
        "configs/metadata.json",
        "docs/README.md",
        "models/card.md",
        "models/model.safetensors",
        "models/plan.json",
        "models/settings.json",
    ]
    assert (bundle / "docs" / "README.md").read_text().startswith("card")


def test_a_bundle_is_recalibrated_as_its_model_is(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    store_calibration(folder, Calibration(temperature=2.0))
    bundle = export_bundle(folder, tmp_path / "bundle")
    assert Predictor.load(bundle / "models").calibration.temperature == 2.0


def test_a_bundle_knows_the_training_images_as_its_model_does(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    random = np.random.default_rng(0)
    images = [(random.normal(size=(4, 4)),) for _ in range(12)]
    store_detector(folder, fit_detector(images, {}), Predictor.load(folder).identity.sha256)
    bundle = export_bundle(folder, tmp_path / "bundle")
    assert Predictor.load(bundle / "models").detector is not None


def test_the_metadata_have_what_the_specification_requires(make_model: MakeModel, tmp_path: Path) -> None:
    bundle = export_bundle(make_model("yx", channels=2), tmp_path / "bundle")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert {name: type(metadata[name]) for name in REQUIRED} == REQUIRED
    image = metadata["network_data_format"]["inputs"]["image"]
    answer = metadata["network_data_format"]["outputs"]["pred"]
    for tensor in (image, answer):
        assert {name: type(tensor[name]) for name in OF_A_TENSOR} == OF_A_TENSOR
    assert (image["num_channels"], image["spatial_shape"]) == (2, [16, 16])
    assert answer["channel_def"] == {"0": "background", "1": "left", "2": "right"}


def test_the_metadata_say_that_each_class_has_a_channel_of_probabilities(
    make_model: MakeModel, tmp_path: Path
) -> None:
    bundle = export_bundle(make_model("yx"), tmp_path / "bundle")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    answer = metadata["network_data_format"]["outputs"]["pred"]
    assert (answer["type"], answer["format"], answer["num_channels"]) == ("probabilities", "labels", 3)
    assert answer["value_range"] == [0.0, 1.0]
    assert metadata["pred_classes"].startswith("3 channels of probabilities")


@pytest.mark.parametrize(
    "axes, baseline",
    [("yx", "none"), ("zyx", "none"), ("yx", "unet"), ("yx", "ssn"), ("yx", "probabilistic_unet")],
)
def test_monai_verifies_the_network(make_model: MakeModel, tmp_path: Path, axes: str, baseline: str) -> None:
    bundle = export_bundle(
        make_model(axes, baseline), tmp_path / "bundle", steps=3, samples=2, sampler="ddpm"
    )
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        device="cpu",
        bundle_root=str(bundle),
    )


def test_the_workflow_has_all_properties_that_monai_asks_for(
    make_model: MakeModel, tmp_path: Path, images: Path
) -> None:
    bundle = export_bundle(make_model("zyx"), tmp_path / "bundle")
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(images),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_a_bundle_that_runs_writes_what_the_model_predicts(
    make_model: MakeModel, tmp_path: Path, images: Path
) -> None:
    model = make_model("zyx")
    bundle = export_bundle(model, tmp_path / "bundle", steps=1, samples=2)
    run(
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(tmp_path / "out"),
        save=["labels", "uncertainty"],
    )
    predictor = Predictor.load(model)
    options = PredictOptions(steps=1, samples=2, save=("labels", "uncertainty"))
    predict_cases(predictor, find_inputs([images], 1, "zyx"), tmp_path / "wanted", options)
    for name in ("a.nii.gz", "b.nii.gz", "a_uncertainty.nii.gz"):
        found, wanted = (nibabel.load(tmp_path / folder / name) for folder in ("out", "wanted"))
        np.testing.assert_array_equal(found.get_fdata(), wanted.get_fdata())


def test_a_bundle_of_a_single_prediction_draws_samples_as_its_model_does(
    make_model: MakeModel, tmp_path: Path
) -> None:
    model = make_model()
    bundle = export_bundle(model, tmp_path / "bundle")
    found = Predictor.load(bundle / "models")
    assert found.sampling() == Predictor.load(model).sampling()
    assert found.sampling(samples=5) == Predictor.load(model).sampling(samples=5)
    assert found.sampling(samples=5).samples == 5
    of_unet = export_bundle(make_model("yx", "unet"), tmp_path / "unet", samples=4)
    assert json.loads((of_unet / "configs" / "inference.json").read_text())["samples"] == 1


def test_a_bundle_has_the_codes_of_its_segments(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    lesion = {"value": "52988006", "scheme": "SCT", "meaning": "Lesion"}
    segments = json.dumps({"version": 1, "segments": {"left": {"type": lesion}}})
    (model / "segments.json").write_text(segments)
    bundle = export_bundle(model, tmp_path / "bundle")
    assert (bundle / "models" / "segments.json").read_text() == segments
    predictor = Predictor.load(bundle / "models", "cpu")
    run_of_bundle = BundleRun(predictor, (), str(tmp_path / "out"), 1, ("labels",), 0, str(bundle))
    assert run_of_bundle.options.codes["left"].type.meaning == "Lesion"
    assert json.loads((bundle / "configs" / "inference.json").read_text())["evaluator"]["bundle_root"]


@pytest.mark.parametrize("sampling", [{}, {"samples": 2}])
def test_the_network_of_a_bundle_predicts_a_patch_as_the_predictor_does(
    make_model: MakeModel, tmp_path: Path, sampling: dict[str, Any]
) -> None:
    """The single prediction starts from zero noise, samples from noise of their own."""
    predictor = Predictor.load(export_bundle(make_model(), tmp_path / "bundle", **sampling) / "models", "cpu")
    patch = np.random.default_rng(0).normal(size=(1, 16, 16)).astype(np.float32)
    patch = (patch - patch.mean()) / patch.std()
    with torch.inference_mode():
        (found,) = PatchNetwork(predictor).eval()(torch.from_numpy(patch)[None]).numpy()
    np.testing.assert_allclose(found, predictor(patch, "patch").probabilities.array, atol=1e-5)


def test_a_bundle_does_not_replace_what_is_there(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    with pytest.raises(InputError, match="is there already"):
        export_bundle(folder, folder)
    with pytest.raises(InputError, match="steps is 0"):
        export_bundle(folder, tmp_path / "bundle", steps=0)
    with pytest.raises(InputError, match="there is no such folder"):
        export_bundle(tmp_path / "nothing", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
