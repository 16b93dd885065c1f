"""`Mixture`: the maps of an ensemble on the image's own grid, from those of its members one after the other.

With weights w_i of the members, their mean probabilities p_i, and their samples s,

    p = sum_i w_i p_i                                    probabilities, their entropy H(p) the uncertainty
    H(p) - sum_i w_i H(p_i)                              what members disagree on (epistemic)
    sum_i w_i (H(p_i) - mean_s H(p_is))                  what samples of a member disagree on (aleatoric)

(Depeweg et al. 2018, with samples of the latent inside each member). Samples are pooled: frequencies, volumes
and the agreement of samples are those of all samples together. K classes; *S the image's own grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.class_indices import class_indices
from ldseg.data.volume import Volume
from ldseg.inference.decision import LabelRule, PosteriorCounts, index_type, pack_levels
from ldseg.inference.output import (
    DISAGREEMENT,
    FREQUENCIES,
    LABELS,
    MEMBER_DISAGREEMENT,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
    CaseSummary,
    EnsembleSummary,
    ImageMaps,
)
from ldseg.inference.posterior import Confidence, entropy, interval_of
from ldseg.inference.temperature_scaling import (
    Calibration,
    expected_dice,
    scale_interval,
    with_temperature,
)
from ldseg.metrics.dice import dice, dice_of_counts
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import labels_to_ids

_VOXELS = 2**20  # counted together for a decision


@dataclass(frozen=True)
class Member:
    """The maps of one member for an image."""

    weight: float
    samples: int
    maps: ImageMaps
    summary: CaseSummary


class Mixture:
    """Sums over members; of a member itself only label maps are kept."""

    def __init__(self, volume: Volume, plan: Plan, keeps_samples: bool) -> None:
        classes = len(plan.classes)
        self._volume, self._plan, self._keeps_samples = volume, plan, keeps_samples
        self._kind = index_type(classes)
        self._mean, self._votes = np.zeros((2, classes, *volume.shape), np.float32)
        self._entropy, self._within = np.zeros((2, 1, *volume.shape), np.float32)
        self._labels: list[NDArray[np.unsignedinteger]] = []
        self._samples: list[NDArray[np.unsignedinteger]] = []
        self._summaries: list[CaseSummary] = []
        self._numbers: list[int] = []
        self._lowered = 0.0  # weighted mean of the factors by which members lower their confidence

    def add(self, member: Member) -> None:
        """Add a member's probabilities, frequencies and disagreement, and samples if these are kept."""
        maps, weight = member.maps, np.float32(member.weight)
        probabilities = maps.array(PROBABILITIES)
        labels = probabilities.argmax(0).astype(self._kind)
        self._mean += weight * probabilities
        self._entropy += weight * _entropy(probabilities)
        self._within += weight * maps.array(DISAGREEMENT)
        self._votes += np.float32(member.samples) * maps.array(FREQUENCIES)
        self._labels.append(labels)
        if self._keeps_samples:
            classes = self._plan.classes
            self._samples += [
                class_indices(one.array[0], classes, None).astype(self._kind) for one in maps.samples()
            ]
        confidence = Confidence(len(probabilities))
        confidence.add(probabilities, labels)
        self._lowered += member.weight * member.summary.confidence / max(confidence.value(), 1e-12)
        self._summaries.append(member.summary)
        self._numbers.append(member.samples)

    def result(self, calibration: Calibration, decides: bool, single: bool) -> tuple[ImageMaps, CaseSummary]:
        """Return the maps of the mixture and its summary; `single` where each member predicts once, without
        samples."""
        probabilities = with_temperature(self._mean, calibration.temperature)
        classes, rule = probabilities.argmax(0).astype(self._kind), None
        confidence = Confidence(len(probabilities))
        confidence.add(probabilities, classes)
        if decides:
            classes, rule = self._decide()
        between = np.maximum(_entropy(self._mean) - self._entropy, 0)
        total = sum(self._numbers)
        arrays: dict[str, NDArray[Any]] = {
            LABELS: labels_to_ids(classes[None], self._plan),
            PROBABILITIES: probabilities,
            UNCERTAINTY: _entropy(probabilities),
            DISAGREEMENT: self._within,
            MEMBER_DISAGREEMENT: between,
            FREQUENCIES: self._votes / total,
        }
        if self._keeps_samples:
            drawn = [classes] if single else self._samples
            arrays[SAMPLES] = np.stack([labels_to_ids(one, self._plan) for one in drawn])
        agreement = EnsembleSummary(
            self._agreement_of_members(), float(between.mean()), float(self._within.mean())
        )
        summary = self._summary(calibration, confidence.value() * self._lowered, single, agreement, rule)
        return ImageMaps(self._volume, arrays), summary

    def _decide(self) -> tuple[NDArray[np.unsignedinteger], LabelRule]:
        """Return the classes with the least risk over all samples."""
        levels, samples = pack_levels(self._mean), np.stack(self._samples)
        counts = PosteriorCounts(len(levels), len(samples))
        flat, drawn = levels.reshape(len(levels), -1), samples.reshape(len(samples), -1)
        for first in range(0, flat.shape[1], _VOXELS):
            part = slice(first, first + _VOXELS)
            counts.add_levels(flat[:, part], drawn[:, part], np.ones(flat[:, part].shape[1]))
        rule = counts.decide()
        return rule.classes(levels), rule

    def _agreement_of_members(self) -> dict[str, float]:
        """Return for each structure the mean Dice between two members."""
        pairs = list(combinations(self._labels, 2))
        return {
            name: float(np.mean([dice(one == k, other == k) for one, other in pairs]))
            for k, name in enumerate(self._plan.classes)
            if k > 0
        }

    def _agreement_of_samples(self) -> dict[str, float]:
        """Return for each structure the Dice between two of all samples, as `Posterior.pairwise_dice`."""
        others = sum(self._numbers) - 1
        found: dict[str, float] = {}
        for k, name in list(enumerate(self._plan.classes))[1:]:
            votes = self._votes[k].astype(np.float64)
            common = (votes * np.maximum(votes - 1, 0)).sum() / 2
            found[name] = min(1.0, float(dice_of_counts(common, others * votes.sum())))
        return found

    def _summary(
        self,
        calibration: Calibration,
        confidence: float,
        single: bool,
        agreement: EnsembleSummary,
        rule: LabelRule | None,
    ) -> CaseSummary:
        names, members = list(self._plan.classes)[1:], self._summaries
        volumes = {name: [size for one in members for size in one.sample_volumes[name]] for name in names}
        distances = [one.distance for one in members if one.distance is not None]
        ways = dict.fromkeys(way for one in members for way in one.out_of_distribution)
        counted = {way: sum(way in one.out_of_distribution for one in members) for way in ways}
        return CaseSummary(
            volumes={
                name: scale_interval(interval_of(np.array(sizes)), calibration.widening)
                for name, sizes in volumes.items()
            },
            pairwise_dice={} if single else self._agreement_of_samples(),
            confidence=confidence,
            volume_unit=members[0].volume_unit,
            out_of_distribution=tuple(way for way, number in counted.items() if 2 * number >= len(members)),
            notes=tuple(dict.fromkeys(note for one in members for note in one.notes)),
            distance=float(np.mean(distances)) if distances else None,
            harmonized=any(one.harmonized for one in members),
            decision="argmax" if rule is None else "expected-dice",
            expected_dice={} if rule is None else expected_dice(names, rule.risks, calibration),
            sample_volumes={name: tuple(sizes) for name, sizes in volumes.items()},
            ensemble=agreement,
        )


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy (1, *S) in nats."""
    return entropy(torch.from_numpy(probabilities), 0)[None].numpy()
