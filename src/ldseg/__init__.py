"""Latent diffusion for medical image segmentation: a segmentation and its uncertainty.

    ldseg.plan(data, run)                   plan a training on a data set
    ldseg.train(data, run)                  train on it
    ldseg.load(run)(path)                   segment an image
    ldseg.evaluate(predictions, labels)     score predictions
    ldseg.cross_validate(run)               score a training on cases that it had not seen
    ldseg.LDSeg(spatial_dims=2)             build the model for a training loop of your own

`dir(ldseg)` lists the public API. Names are imported when first used, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldseg.api import plan_run as plan
    from ldseg.api import read_image
    from ldseg.api import train_run as train
    from ldseg.data.volume import Volume
    from ldseg.errors import InputError
    from ldseg.evaluation.cross_validation import cross_validate
    from ldseg.evaluation.evaluate_folders import evaluate_folders as evaluate
    from ldseg.inference.base_predictor import Prediction
    from ldseg.inference.ensemble_files import load_models as load
    from ldseg.inference.predictor import Predictor
    from ldseg.methods.latent_diffusion import LDSeg

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "LDSeg",
    "Prediction",
    "Predictor",
    "Volume",
    "__version__",
    "cross_validate",
    "evaluate",
    "load",
    "plan",
    "read_image",
    "train",
]

_EXPORTS = {
    "InputError": ("ldseg.errors", "InputError"),
    "LDSeg": ("ldseg.methods.latent_diffusion", "LDSeg"),
    "Prediction": ("ldseg.inference.base_predictor", "Prediction"),
    "Predictor": ("ldseg.inference.predictor", "Predictor"),
    "Volume": ("ldseg.data.volume", "Volume"),
    "cross_validate": ("ldseg.evaluation.cross_validation", "cross_validate"),
    "evaluate": ("ldseg.evaluation.evaluate_folders", "evaluate_folders"),
    "load": ("ldseg.inference.ensemble_files", "load_models"),
    "plan": ("ldseg.api", "plan_run"),
    "read_image": ("ldseg.api", "read_image"),
    "train": ("ldseg.api", "train_run"),
}
"""Public name to its module and the name there."""


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ldseg' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
