"""What the members of an ensemble say of an image becomes one segmentation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from predicting import image
from tiny_models import tiny_plan

from ldseg.inference.mixture import Member, Mixture
from ldseg.inference.output import DISAGREEMENT, FREQUENCIES, PROBABILITIES, CaseSummary, ImageMaps
from ldseg.inference.temperature_scaling import UNCALIBRATED


def test_a_mixture_knows_more_than_256_classes() -> None:
    plan = replace(tiny_plan(), classes={f"class_{n}": n for n in range(300)})
    volume = image("yx", (2, 3))
    probabilities = np.full((300, 2, 3), 1e-5, np.float32)
    probabilities[280] = 1 - 299e-5
    arrays = {PROBABILITIES: probabilities, FREQUENCIES: probabilities, DISAGREEMENT: np.zeros((1, 2, 3))}
    volumes = dict.fromkeys(plan.classes, (0.0,))
    summary = CaseSummary({}, {}, 1.0, "pixels", sample_volumes=volumes)
    mixture = Mixture(volume, plan, keeps_samples=False)
    for _ in range(2):
        mixture.add(Member(0.5, 1, ImageMaps(volume, arrays), summary))
    maps, found = mixture.result(UNCALIBRATED, decides=False, single=True)
    assert np.unique(maps.array("labels")).tolist() == [280]
    assert found.ensemble is not None
    assert found.ensemble.pairwise_dice["class_280"] == 1
