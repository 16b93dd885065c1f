"""`Ensemble`: several models that segment an image together, one after the other in memory.

Each member segments the image as it does alone, on its own grid and with its own tiles; what they say is
mixed on the image's grid (`inference.mixture`). Samples are shared among the members by their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.backends.backend import Computation
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.decision import Decision
from ldseg.inference.mixture import Member, Mixture
from ldseg.inference.output import (
    DISAGREEMENT,
    FREQUENCIES,
    LABELS,
    MEMBER_DISAGREEMENT,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
    CaseSummary,
    ImageMaps,
    OnPlanes,
    ignore_planes,
)
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance import MemberIdentity, ModelIdentity
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings

_LEAST_SAMPLES = 2
"""Samples of a member beside those of others: one sample would stand for its whole posterior."""


class Ensemble(BasePredictor):
    """Segments with at least two models that have the same classes, channels and axes."""

    extra_maps = (MEMBER_DISAGREEMENT,)

    def __init__(
        self,
        members: Sequence[Predictor],
        weights: Sequence[float] | None = None,
        calibration: Calibration | None = None,
        name: str | None = None,
        decision: Decision | None = None,
    ) -> None:
        """Members weigh the same unless `weights` say otherwise.

        A `calibration` of the mixture takes the place of the members' own. Without one, each member is
        calibrated as alone, intervals are widened by the mean of what theirs are, and labels are decided as
        most members decide. `name` is the ensemble's in provenance, by default its members'.

        Raises:
            InputError: members have other classes, channels or axes than the first.
        """
        check_fit(members)
        weights = [1.0] * len(members) if weights is None else weights
        self.weights = tuple(float(one) for one in np.asarray(weights, np.float64) / np.sum(weights))
        self.members = tuple(members) if calibration is None else tuple(one.uncalibrated() for one in members)
        self.fitted, self.asked_decision = calibration, decision
        self.calibration = mean_calibration(members, self.weights) if calibration is None else calibration
        self.plan, self.settings = self.members[0].plan, self.members[0].settings
        self.name = name or "+".join(one.identity.name for one in members)
        named = tuple(
            MemberIdentity(one.identity.name, one.identity.sha256, weight, one.calibration)
            for one, weight in zip(self.members, self.weights, strict=True)
        )
        together = sha256("".join(f"{one.sha256} {one.weight:.6f}\n" for one in named).encode()).hexdigest()
        self.identity = ModelIdentity(self.name, together, named)

    @property
    def stochastic(self) -> bool:
        """True: samples of two members differ, also where each gives only one."""
        return True

    @property
    def stepwise(self) -> bool:
        """True where any member draws samples in steps."""
        return any(member.stepwise for member in self.members)

    @property
    def computation(self) -> Computation:
        """Runtime, device and precision of the first member."""
        return self.members[0].computation

    def uncalibrated(self) -> Ensemble:
        """Return the same members without any calibration."""
        return self._with(self.members, UNCALIBRATED)

    def before_calibration(self) -> Ensemble:
        """Return what the calibration of the mixture is applied to; without one, members keep theirs."""
        found = copy(self)
        found.calibration = UNCALIBRATED
        return found

    def without_harmonization(self) -> Ensemble:
        """Return the same members, which never harmonize an image."""
        return self.with_members(lambda member: member.without_harmonization())

    def with_members(self, change: Callable[[Predictor], Predictor]) -> Ensemble:
        """Return the same with each member changed."""
        return self._with([change(member) for member in self.members], self.fitted)

    def sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        """Return the sampling of the first stochastic member with what is given here instead, and the samples
        of all members together: each draws its share, at least two. Where all members are deterministic, the
        prediction of each is one sample.

        Raises:
            InputError: as of a single model.
        """
        leader = self._leader().deciding_by(self.asked_decision)
        found = leader.sampling(steps, samples, sampler, tta)
        if leader.stochastic:
            return self._shared(found)
        decides = self.asked_decision == "expected-dice"
        several = decides if samples is None else samples > 1
        return replace(found, samples=len(self.members) if several else 1)

    def posterior_sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        """Return the sampling of one of many samples, see `BasePredictor`.

        Raises:
            InputError: as `sampling`.
        """
        leader = self._leader()
        found = leader.posterior_sampling(steps, samples, sampler, tta)
        return self._shared(found if leader.stochastic else replace(found, samples=len(self.members)))

    def explain_samples(self, asked: int | None, sampling: SamplingSettings) -> str | None:
        """Return why another number of samples than was `asked` for is drawn, see `BasePredictor`."""
        leader, number = self._leader(), sampling.samples
        if asked is None or asked == number or number == 1:
            return leader.explain_samples(asked, sampling)
        if leader.stochastic:
            drawn = f"each member that draws samples draws at least {_LEAST_SAMPLES}"
        else:
            drawn = "each member is deterministic and gives one"
        return f"{drawn}: there are {number} samples, not {asked}"

    def predict_maps(
        self,
        volume: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        source: str | None = None,
        on_planes: OnPlanes = ignore_planes,
    ) -> tuple[ImageMaps, CaseSummary]:
        """Return all maps of the mixture, samples only where they are `wanted`; one member's maps are in
        memory beside them.

        Raises:
            InputError: the image does not fit the members.
        """
        decides = self.decides(sampling)
        keeps = decides or SAMPLES in wanted
        needed = (PROBABILITIES, DISAGREEMENT, FREQUENCIES, *((SAMPLES,) if keeps else ()))
        mixture = Mixture(volume, self.plan, keeps)
        for member, weight, samples in zip(
            self.members, self.weights, self._shares(sampling.samples), strict=True
        ):
            own = member.backend.resolve_sampling(replace(sampling, samples=samples))
            plain = member.deciding_by("argmax")
            maps, summary = plain.predict_maps(volume, name, own, seed, needed, source, on_planes)
            mixture.add(Member(weight, samples, maps, summary))
        calibration = self.calibration.for_samples(sampling.samples)
        return mixture.result(calibration, decides, single=sampling.samples == 1)

    def held_maps(self, wanted: Sequence[str], sampling: SamplingSettings) -> tuple[str, ...]:
        """Return the maps that are held at once: those of the mixture and of one member."""
        of_member = (PROBABILITIES, DISAGREEMENT, FREQUENCIES)
        samples = (SAMPLES,) if self.decides(sampling) or SAMPLES in wanted else ()
        own = (LABELS, UNCERTAINTY, UNCERTAINTY, PROBABILITIES)
        return (*of_member, *of_member, *own, *samples, *samples)

    def _with(self, members: Sequence[Predictor], calibration: Calibration | None) -> Ensemble:
        return Ensemble(members, self.weights, calibration, self.name, self.asked_decision)

    def _leader(self) -> Predictor:
        """Return the member whose sampling all take: the first that can sample, else the first."""
        return next((one for one in self.members if one.stochastic), self.members[0])

    def _shared(self, sampling: SamplingSettings) -> SamplingSettings:
        """Return `sampling` with enough samples for all members."""
        least = sum(_LEAST_SAMPLES if one.stochastic else 1 for one in self.members)
        samples = sampling.samples if sampling.samples == 1 else max(sampling.samples, least)
        return replace(sampling, samples=samples)

    def _shares(self, samples: int) -> list[int]:
        """Return how many of all `samples` each member draws, in proportion to their weights; a deterministic
        one, or each of a single prediction, 1."""
        if samples == 1:
            return [1] * len(self.members)
        varying = np.array([one.stochastic for one in self.members])
        weights = np.where(varying, self.weights, 0)
        left = samples - int((~varying).sum())
        shares = np.where(varying, _LEAST_SAMPLES, 1)
        while shares[varying].sum() < left:  # to the member that lacks most of its share
            shares[int((weights / weights.sum() * left - shares * varying).argmax())] += 1
        return [int(share) for share in shares]


def mean_calibration(members: Sequence[Predictor], weights: Sequence[float]) -> Calibration:
    """Return what the members' own calibrations leave to their mixture."""
    own = [member.calibration for member in members]
    widening = sum(w * one.widening for w, one in zip(weights, own, strict=True))
    factor = sum(w * one.dice_loss_factor for w, one in zip(weights, own, strict=True))
    most = 2 * sum(one.decision == "expected-dice" for one in own) > len(own)
    decision = "expected-dice" if most else "argmax"
    return Calibration(widening=widening, decision=decision, dice_loss_factor=factor)


def members_of(predictor: BasePredictor) -> tuple[Predictor, ...]:
    """Return the members of an ensemble, or a model itself."""
    if isinstance(predictor, Ensemble):
        return predictor.members
    return (predictor,) if isinstance(predictor, Predictor) else ()


def check_fit(members: Sequence[Predictor]) -> None:
    """Raise InputError where members have other classes, channels or axes than the first."""
    first = members[0]
    wanted = _facts(first.plan)
    for member in members[1:]:
        for what, found in _facts(member.plan).items():
            if found != wanted[what]:
                raise InputError(
                    f"{member.identity.name}: its {what} are {found}, those of {first.identity.name} are "
                    f"{wanted[what]}; members of an ensemble have the same classes, channels and axes"
                )


def _facts(plan: Plan) -> dict[str, Any]:
    """Return what members have in common."""
    classes = ", ".join(f"{name} {number}" for name, number in plan.classes.items())
    return {
        "classes": classes,
        "channels": ", ".join(channel.name for channel in plan.channels),
        "axes": plan.axes,
    }
