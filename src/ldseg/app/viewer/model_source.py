"""Predictions of a model, made when they are looked at."""

from __future__ import annotations

from dataclasses import replace

from ldseg.app.viewer.layers import WANTED, prediction_layers
from ldseg.app.viewer.session import SampledPrediction
from ldseg.data.volume import Volume
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.output import OnPlanes
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings


class ModelSource:
    """Predicts images with a model; the noise depends on `seed` and the case's name."""

    def __init__(self, predictor: BasePredictor, sampling: SamplingSettings, seed: int) -> None:
        self._predictor, self._seed = predictor, seed
        self._sampling = predictor.sampling(sampling.steps, sampling.samples, sampling.sampler, sampling.tta)
        self._varies = predictor.stochastic and not sampling.single_call

    @property
    def plan(self) -> Plan:
        """The model's plan."""
        return self._predictor.plan

    @property
    def varies(self) -> bool:
        """Return whether samples differ."""
        return self._varies

    def predict(
        self, image: Volume, name: str, path: str, samples: int | None, on_planes: OnPlanes
    ) -> SampledPrediction:
        """Return the prediction, see `PredictionSource`.

        Raises:
            InputError: the image has other axes or channels than the model takes, or voxels without a value.
        """
        sampling = self._sampling if samples is None else replace(self._sampling, samples=samples)
        maps, findings = self._predictor.predict_maps(
            image, name, sampling, self._seed, WANTED, path, on_planes
        )
        layers = {layer.name: layer for layer in prediction_layers(maps, self.plan, sampling.samples)}
        told = sampling.record(self._predictor.stepwise)
        return SampledPrediction(sampling.samples, told, self._seed, layers, findings)
