"""An image, its prediction so far and reference masks; more samples are drawn in the background.

A prediction from n samples equals that of `ldseg predict --samples n`, however it came about: the noise of
sample k is always the same (see `inference.case_noise`), and drawing more repeats the prediction with more.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ldseg.app.viewer.layers import Layer, image_layers, reference_layers
from ldseg.data.class_indices import IGNORE_INDEX
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.output import CaseSummary, OnPlanes, ignore_planes
from ldseg.metrics.dice import dice
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingRecord

MOST_SAMPLES = 64
"""Most samples: with more, quantiles hardly change but memory grows."""
_MORE = 4


class Stopped(Exception):
    """Raised while predicting when the viewer ends or another case is wanted."""


@dataclass(frozen=True)
class SampledPrediction:
    """The prediction from a number of samples."""

    samples: int
    sampling: SamplingRecord | None
    """How the samples were drawn; None where files do not say it."""
    seed: int | None
    layers: dict[str, Layer]
    """Layers by name, without those of the image and the reference."""
    findings: CaseSummary
    """Numbers that nothing is known of are NaN."""


class PredictionSource(Protocol):
    """A source of predictions: a model or the files of an earlier prediction."""

    @property
    def plan(self) -> Plan:
        """Classes, channels and axes."""
        ...

    @property
    def varies(self) -> bool:
        """Return whether more samples can be drawn."""
        ...

    def predict(
        self, image: Volume, name: str, path: str, samples: int | None, on_planes: OnPlanes
    ) -> SampledPrediction:
        """Return the prediction of the case `name`; `samples` None takes the number to begin with.

        Messages call the image `path`. `on_planes` is called now and then; what it raises ends the
        prediction. Raises InputError for an image that does not fit, or damaged files.
        """
        ...


class Session:
    """The viewer's state for one image."""

    def __init__(
        self,
        source: PredictionSource,
        image: Volume,
        name: str,
        path: str,
        references: Sequence[NDArray[np.integer]] = (),
        on_planes: OnPlanes = ignore_planes,
    ) -> None:
        """Take the prediction of the image from `source`.

        `references` are the class indices (*S) of each rater's mask, -1 where nobody labelled.

        Raises:
            InputError: as `PredictionSource.predict`.
        """
        self.image, self.name, self.plan = image, name, source.plan
        self._source, self._path, self.references = source, path, references
        self._stopping = threading.Event()
        self._drawing: threading.Thread | None = None
        self._lock = threading.Lock()
        self.problem = ""
        self.prediction = source.predict(image, name, path, None, on_planes)
        self.reference_dice = self._reference_dice(self.prediction)
        """Dice of each structure with the reference, the mean over raters, over labelled voxels; NaN where
        neither has the structure, empty without a reference."""
        of_image, of_reference = image_layers(image, self.plan), reference_layers(references, self.plan)
        self.fixed = {layer.name: layer for layer in (*of_image, *of_reference)}

    @property
    def busy(self) -> bool:
        """True while samples are being drawn."""
        return self._drawing is not None and self._drawing.is_alive()

    @property
    def layers(self) -> dict[str, Layer]:
        """Layers of the image, the reference and the latest prediction by name."""
        return {**self.fixed, **self.prediction.layers}

    @property
    def more(self) -> int:
        """Number of samples that `draw_more` would add; 0 for a deterministic model or at the maximum."""
        return min(_MORE, max(0, MOST_SAMPLES - self.prediction.samples)) if self._source.varies else 0

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

    def stop(self) -> None:
        """Stop sampling; return when the current tile is done."""
        self._stopping.set()
        self.wait()
        self._stopping.clear()

    def _draw_behind(self, samples: int) -> None:
        self.problem = ""
        try:
            found = self._source.predict(self.image, self.name, self._path, samples, self._stop_if_unwanted)
            self.reference_dice = self._reference_dice(found)
            self.prediction = found
        except Stopped:
            return
        except (InputError, MemoryError, RuntimeError) as error:  # torch says RuntimeError for lack of memory
            self.problem = f"No more samples could be drawn: {error}"

    def _reference_dice(self, prediction: SampledPrediction) -> dict[str, float]:
        labels, found = prediction.layers["labels"].array, dict[str, float]()
        for k, name in list(enumerate(self.plan.classes))[1:] if self.references else ():
            each = [
                dice((labels == k) & (mask != IGNORE_INDEX), mask == k, empty=float("nan"))
                for mask in self.references
            ]
            found[name] = float(np.mean(each))
        return found

    def _stop_if_unwanted(self) -> None:
        """Raise `Stopped` once the samples are not wanted any more."""
        if self._stopping.is_set():
            raise Stopped
