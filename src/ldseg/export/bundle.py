"""A trained model as a MONAI bundle: a folder that `monai.bundle` runs, with ldseg installed.

    OUT/configs/metadata.json     what it is, its versions, what goes in and comes out
        configs/inference.json    segments a folder of images
        models/                   weights (safetensors), plan, settings, card and calibration, as they were
        docs/README.md            the card, and how to run

The specification asks for models/model.pt; a pickle is not written, safetensors take its place.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ldseg import __version__
from ldseg.data.formats.dicom.segments import SEGMENTS_FILE
from ldseg.export.atomic_directory import atomic_directory
from ldseg.inference.backends.torch_backend import check_sampling
from ldseg.planning.plan import Plan, write_plan
from ldseg.runs.files import (
    CALIBRATION_FILE,
    CARD_FILE,
    OUT_OF_DISTRIBUTION_FILE,
    PLAN_FILE,
    SETTINGS_FILE,
    WEIGHTS_FILE,
)
from ldseg.runs.saved_model import SavedModel, copy_files, load_model, write_settings
from ldseg.utils.serialization import write_bytes_atomic, write_json_atomic

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_PACKAGES = ("einops", "nibabel", "SimpleITK", "tifffile", "safetensors", "scipy")
_RANGE = [-2.0, 2.0]  # of the normalisation "range"


def export_bundle(
    folder: Path,
    out: Path,
    steps: int | None = None,
    samples: int | None = None,
    sampler: str | None = None,
    tta: bool | None = None,
    loaded: SavedModel | None = None,
) -> Path:
    """Write the model in `folder` as a bundle to the new folder `out`; what is None is the model's own.
    `loaded` is the model in `folder` where it has been loaded already.

    Raises:
        InputError: a folder or the sampling cannot be used.
    """
    folder = Path(folder)
    model = load_model(folder, torch.device("cpu")) if loaded is None else loaded
    sampling = model.settings.sampling_of(sampler, steps, samples, tta, model.segmenter.stochastic)
    check_sampling(sampling)
    sampling = model.segmenter.resolve_sampling(sampling)
    several = sampling if sampling.samples > 1 else model.settings.posterior
    settings = replace(model.settings, sampling=sampling, posterior=several)
    card = (folder / CARD_FILE).read_text(encoding="utf-8") if (folder / CARD_FILE).is_file() else ""
    with atomic_directory(Path(out)) as staged:
        models = staged / "models"
        write_plan(models / PLAN_FILE, model.plan)
        write_settings(models / SETTINGS_FILE, settings)
        write_bytes_atomic(models / CARD_FILE, card.encode())
        as_they_are = (WEIGHTS_FILE, CALIBRATION_FILE, OUT_OF_DISTRIBUTION_FILE, SEGMENTS_FILE)
        copy_files(folder, models, as_they_are)
        write_json_atomic(staged / "configs" / "metadata.json", make_metadata(model))
        write_json_atomic(staged / "configs" / "inference.json", make_config(sampling.samples))
        write_bytes_atomic(staged / "docs" / "README.md", (card + _HOW_TO_RUN).encode())
    return Path(out)


def make_metadata(model: SavedModel) -> dict[str, Any]:
    """Return the content of metadata.json."""
    plan = model.plan
    structures = ", ".join(list(plan.classes)[1:])
    kind = "latent diffusion (LDSeg)" if model.settings.baseline == "none" else model.settings.baseline
    packages = {"ldseg": __version__} | {name: version(name) for name in _PACKAGES}
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by ldseg {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": str(torch.__version__).split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": packages,
        "name": f"Segmentation of {structures}",
        "task": f"Segmentation of {structures}, with its uncertainty",
        "description": f"{len(plan.axes)}D segmentation by {kind}; see docs/README.md",
        "authors": "see docs/README.md",
        "copyright": "see docs/README.md",
        "data_source": "see docs/README.md",
        "pred_classes": f"{len(plan.classes)} channels of probabilities, 0 to 1, that sum to 1 in each voxel",
        "intended_use": "Research. Not a medical device; not validated for clinical use.",
        "network_data_format": {
            "inputs": {"image": _image_format(plan)},
            "outputs": {"pred": _output_format(plan)},
        },
    }


def _image_format(plan: Plan) -> dict[str, Any]:
    """Return the format of `network_def`'s input: a normalized patch."""
    known = all(channel.scheme == "range" for channel in plan.channels)
    return {
        "type": "image",
        "format": "magnitude",
        "modality": ", ".join(channel.name for channel in plan.channels),
        "num_channels": len(plan.channels),
        "spatial_shape": list(plan.patch),
        "dtype": "float32",
        "value_range": _RANGE if known else [],
        "is_patch_data": True,
        "channel_def": {str(k): channel.name for k, channel in enumerate(plan.channels)},
    }


def _output_format(plan: Plan) -> dict[str, Any]:
    """Return the format of `network_def`'s output: a probability per class and voxel.

    In the bundle specification "segmentation" is one channel of ids; "labels" is one channel per class, the
    largest of which is the label.
    """
    return {
        "type": "probabilities",
        "format": "labels",
        "num_channels": len(plan.classes),
        "spatial_shape": list(plan.patch),
        "dtype": "float32",
        "value_range": [0.0, 1.0],
        "is_patch_data": True,
        "channel_def": {str(k): name for k, name in enumerate(plan.classes)},
    }


def make_config(samples: int) -> dict[str, Any]:
    """Return the content of inference.json; each entry can be overridden when it is run."""
    module = "ldseg.export.bundle_run"
    return {
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/predictions'",
        "device": {"_target_": "ldseg.utils.device.choose_device"},
        "samples": samples,
        "seed": 0,
        "save": ["labels"],
        "inferer": {"_target_": f"{module}.load_bundle", "bundle_root": "@bundle_root", "device": "@device"},
        "network_def": {"_target_": f"{module}.PatchNetwork", "predictor": "@inferer", "seed": "@seed"},
        "dataset": {
            "_target_": f"{module}.find_images",
            "dataset_dir": "@dataset_dir",
            "predictor": "@inferer",
        },
        "evaluator": {
            "_target_": f"{module}.BundleRun",
            "predictor": "@inferer",
            "cases": "@dataset",
            "output_dir": "@output_dir",
            "samples": "@samples",
            "save": "@save",
            "seed": "@seed",
            "bundle_root": "@bundle_root",
        },
        "run": ["$@evaluator.run()"],
    }


_HOW_TO_RUN = """
## Run it

    pip install ldseg fire
    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
        --dataset_dir IMAGES --output_dir PREDICTIONS

`--samples 8 --save "['labels', 'uncertainty']"` adds the uncertainty; `--device cpu` chooses where. The
folder `models` is a model of ldseg: `ldseg predict IMAGES -m models -o PREDICTIONS` does the same.
"""
