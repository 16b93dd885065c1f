"""Names of the files in a run's folder; a trained model's folder has those of the first two groups."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_FILE = "model.safetensors"
PLAN_FILE = "plan.json"
SETTINGS_FILE = "settings.json"
CARD_FILE = "card.md"

SPEC_FILE = "contract.json"
"""How to feed an exported graph; it lies beside the graph, in the place of weights."""

CALIBRATION_FILE = "calibration.json"
"""Temperature and calibration figures, fitted on validation cases after training."""
ENSEMBLE_FILE = "ensemble.json"
"""Members of an ensemble, their weights, and the calibration of all together."""
OUT_OF_DISTRIBUTION_FILE = "out_of_distribution.safetensors"
"""Statistics of the training images, by which images of another kind are recognized."""

DATA_FILE = "data.json"
"""Path of the data set and the options with which it is read."""
SPLITS_FILE = "splits.json"
FINGERPRINT_FILE = "fingerprint.json"

SOURCE_FILE = "source.json"
"""The model whose weights a training began with, where it was not from nothing."""

LOG_FILE = "log.jsonl"
CURVES_FILE = "curves.png"
TENSORBOARD_FOLDER = "tensorboard"
MLFLOW_FILE = "mlflow.db"
BEST_FOLDER = "best"
"""The model at its best validation."""
STATE_FILE = Path("state") / "training.safetensors"
"""The training state for resuming; its folder may be deleted when training has ended."""
CONTINUATION_FILE = "continue.json"
"""What a continued training has begun to change in the folder; removed when all is changed."""
CACHE_FOLDER = "cache"
"""Preprocessed cases; may be deleted when training has ended."""
LOCK_FILE = ".lock"
FOLD_PREFIX = "fold_"
"""Beginning of the names of a cross-validation's folders, before the number of the fold."""
VALIDATION_FOLDER = "validation"
"""What a model predicts for its validation cases when it is cross-validated."""
