from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ldseg.presets import default_model
from ldseg.settings import (
    AugmentSettings,
    DenoiserSettings,
    LossSettings,
    NoiseSettings,
    RunSettings,
    SamplingSettings,
    StagesSettings,
    TrainingSettings,
)

STAGES = StagesSettings((8, 16), ((2, 2), (2, 2)))
RUN = RunSettings("default", default_model(2, 1, 2))


@pytest.mark.parametrize(
    ("settings", "field", "value"),
    [
        (LossSettings(), "latent", -1.0),
        (LossSettings(), "latent_draws", -1),
        (LossSettings(), "reconstruction_share", 0.0),
        (LossSettings(), "reconstruction_share", 2.0),
        (LossSettings(), "feature_drop", 2.0),
        (LossSettings(stop_latent_gradient=False), "reconstruction", -1.0),
        (AugmentSettings(), "gamma", 0.0),
        (AugmentSettings(), "affine_probability", 1.5),
        (AugmentSettings(), "noise_probability", -0.1),
        (AugmentSettings(), "noise_deviation", -1.0),
        (AugmentSettings(), "rotation", -5.0),
        (AugmentSettings(), "scale", 1.0),
        (AugmentSettings(), "low_resolution_zoom", 0.0),
        (TrainingSettings(), "seed", -1),
        (TrainingSettings(), "seed", 2**63),
        (NoiseSettings(), "shift", 0.0),
        (STAGES, "blocks", 0),
        (STAGES, "attention", (2,)),
        (STAGES, "attention", (-1,)),
        (DenoiserSettings(STAGES), "time_features", 63),
        (DenoiserSettings(STAGES), "time_features", 0),
        (RUN, "sampling", SamplingSettings(steps=0)),
        (RUN, "posterior", SamplingSettings(samples=0)),
    ],
)
def test_a_value_outside_of_its_range_is_refused_by_name(settings: Any, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field}(\.\w+)? is .*; (choose|number)"):
        replace(settings, **{field: value})


@pytest.mark.parametrize(
    "settings",
    [
        LossSettings(latent=0.0, latent_draws=0, reconstruction_share=1.0, feature_drop=1.0),
        AugmentSettings(rotation=0.0, scale=0.0, shift=0.0, gamma=1.0, low_resolution_zoom=1.0),
        TrainingSettings(seed=2**63 - 1),
        replace(STAGES, attention=(0, 1)),
    ],
)
def test_the_ends_of_a_range_belong_to_it(settings: Any) -> None:
    assert replace(settings) == settings
