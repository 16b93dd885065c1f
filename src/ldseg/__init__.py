"""Latent diffusion for medical image segmentation: a segmentation, and how sure it is.

    ldseg.plan(data, run)             what a training on a folder would look like
    ldseg.train(data, run)            train on it
    ldseg.load(run)(path)             segment an image
    ldseg.evaluate(predictions, masks)

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldseg.api import plan_run as plan
    from ldseg.api import train_run as train
    from ldseg.evaluation.evaluate_folders import evaluate_folders as evaluate
    from ldseg.inference.predictor import Predictor
    from ldseg.inference.predictor import load_predictor as load

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "evaluate", "load", "plan", "train"]

_PLACES = {
    "Predictor": ("ldseg.inference.predictor", "Predictor"),
    "evaluate": ("ldseg.evaluation.evaluate_folders", "evaluate_folders"),
    "load": ("ldseg.inference.predictor", "load_predictor"),
    "plan": ("ldseg.api", "plan_run"),
    "train": ("ldseg.api", "train_run"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'ldseg' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)
