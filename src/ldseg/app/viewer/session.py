"""An image, a model and the prediction so far; more samples are drawn in the background.

A prediction from n samples equals that of `ldseg predict --samples n`, however it came about: sample k is
always the same (see `inference.case_noise`), and drawing more repeats the prediction with more samples.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from ldseg.app.viewer.layers import WANTED, Layer, image_layers, prediction_layers
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.output import CaseSummary
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings

MOST_SAMPLES = 64
"""Most samples: with more, quantiles hardly change but memory grows."""
_MORE = 4


class Stopped(Exception):
    """Raised while sampling when the viewer ends."""


@dataclass(frozen=True)
class SampledPrediction:
    """The prediction from a number of samples."""

    samples: int
    layers: dict[str, Layer]
    """Layers by name, without those of the image."""
    findings: CaseSummary


class Session:
    """The viewer's state for one image."""

    def __init__(
        self,
        predictor: BasePredictor,
        image: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        source: str,
    ) -> None:
        """Segment the image with `sampling`; the noise depends on `seed` and `name`, messages name `source`.

        Raises:
            InputError: the image has other axes or channels than the model takes, or voxels without a value.
        """
        self.image, self.name, self.seed = image, name, seed
        self.sampling = predictor.sampling(sampling.steps, sampling.samples, sampling.sampler, sampling.tta)
        self._samples_vary = predictor.stochastic and not sampling.single_call
        self._predictor, self._source = predictor, source
        self._ending = threading.Event()
        self._drawing: threading.Thread | None = None
        self._lock = threading.Lock()
        self.problem = ""
        self.prediction = self._draw(self.sampling.samples)
        self.images = {layer.name: layer for layer in image_layers(image, predictor.plan)}

    @property
    def plan(self) -> Plan:
        """The model's plan."""
        return self._predictor.plan

    @property
    def busy(self) -> bool:
        """True while samples are being drawn."""
        return self._drawing is not None and self._drawing.is_alive()

    def layer(self, name: str) -> Layer | None:
        """Return a layer of the image or of the latest prediction; None if there is no such layer."""
        return self.images.get(name) or self.prediction.layers.get(name)

    @property
    def more(self) -> int:
        """Number of samples that `draw_more` would add; 0 for a deterministic model or at the maximum."""
        return min(_MORE, max(0, MOST_SAMPLES - self.prediction.samples)) if self._samples_vary else 0

    def draw_more(self) -> bool:
        """Start drawing `more` samples; return False if samples are being drawn already or none are left."""
        with self._lock:
            if self.busy or not self.more:
                return False
            samples = self.prediction.samples + self.more
            self._drawing = threading.Thread(target=self._draw_behind, args=(samples,), name="drawing")
            self._drawing.start()
            return True

    def wait(self) -> None:
        """Wait until sampling has finished."""
        if self._drawing is not None:
            self._drawing.join()

    def end(self) -> None:
        """Stop sampling; return when the current tile is done."""
        self._ending.set()
        self.wait()

    def _draw_behind(self, samples: int) -> None:
        self.problem = ""
        try:
            self.prediction = self._draw(samples)
        except Stopped:
            return
        except (InputError, MemoryError, RuntimeError) as error:  # torch says RuntimeError for lack of memory
            self.problem = f"No more samples could be drawn: {error}"

    def _draw(self, samples: int) -> SampledPrediction:
        predictor, sampling = self._predictor, replace(self.sampling, samples=samples)
        maps, findings = predictor.predict_maps(
            self.image, self.name, sampling, self.seed, WANTED, self._source, self._stop_if_ending
        )
        layers = {layer.name: layer for layer in prediction_layers(maps, predictor.plan, samples)}
        return SampledPrediction(samples, layers, findings)

    def _stop_if_ending(self) -> None:
        """Raise `Stopped` once the viewer ends."""
        if self._ending.is_set():
            raise Stopped
