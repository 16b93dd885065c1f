"""An image, a model, and the answer as far as samples are drawn; more are drawn in the background.

An answer of n samples is that of `ldseg predict --samples n`, however it came about: sample k is always the
same one (see `inference.noise`), and drawing more asks for the whole answer of more samples.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ldseg.app.viewer.layers import WANTED, Layer, image_layers, prediction_layers
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.output import CaseSummary, InMemory
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingSettings

MOST_SAMPLES = 64
"""Beyond that, quantiles hardly move and the page's memory does."""
_MORE = 4


class Stopped(Exception):
    """The viewer is to end while it draws."""


@dataclass(frozen=True)
class Answer:
    """What the model says after so many samples."""

    samples: int
    layers: dict[str, Layer]
    """By name; those of the image are not among them."""
    findings: CaseSummary


class Session:
    """One image in the viewer."""

    def __init__(
        self,
        predictor: Predictor,
        image: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        source: str,
    ) -> None:
        """`sampling` is of the first answer. The noise depends on `seed` and `name`; messages call the image
        `source`.

        Raises:
            InputError: the image has other axes or channels than the model takes, or voxels without a value.
        """
        self.image, self.name, self.seed = image, name, seed
        self.sampling = predictor.sampling(sampling.steps, sampling.samples, sampling.sampler, sampling.tta)
        self._samples_vary = predictor.backend.stochastic
        seen = predictor.preprocess(image, name, source)
        self._predictor, self._input, self.unlike = predictor, seen, seen.out_of_distribution
        self.harmonized, self.notes = seen.harmonized, seen.notes
        self.images = {layer.name: layer for layer in image_layers(image, predictor.plan)}
        self._ending = threading.Event()
        self._drawing: threading.Thread | None = None
        self._lock = threading.Lock()
        self.problem = ""
        self.answer = self._draw(self.sampling.samples)

    @property
    def plan(self) -> Plan:
        """The model's."""
        return self._predictor.plan

    @property
    def busy(self) -> bool:
        """Whether samples are being drawn."""
        return self._drawing is not None and self._drawing.is_alive()

    def layer(self, name: str) -> Layer | None:
        """Of the image or of the latest answer."""
        return self.images.get(name) or self.answer.layers.get(name)

    @property
    def more(self) -> int:
        """How many samples `draw_more` would draw; 0 where all are equal, or there are enough."""
        return min(_MORE, max(0, MOST_SAMPLES - self.answer.samples)) if self._samples_vary else 0

    def draw_more(self) -> bool:
        """Begin to draw `more` samples; False where it is drawing already, or there are none to draw."""
        with self._lock:
            if self.busy or not self.more:
                return False
            samples = self.answer.samples + self.more
            self._drawing = threading.Thread(target=self._draw_behind, args=(samples,), name="drawing")
            self._drawing.start()
            return True

    def wait(self) -> None:
        """Until nothing is being drawn."""
        if self._drawing is not None:
            self._drawing.join()

    def end(self) -> None:
        """Draw no further; returns when the tile at work is done."""
        self._ending.set()
        self.wait()

    def _draw_behind(self, samples: int) -> None:
        self.problem = ""
        try:
            self.answer = self._draw(samples)
        except Stopped:
            return
        except (InputError, MemoryError, RuntimeError) as error:  # torch says RuntimeError for lack of memory
            self.problem = f"No more samples could be drawn: {error}"

    def _draw(self, samples: int) -> Answer:
        predictor, record = self._predictor, self._input.image.grid
        sampling, tiling = replace(self.sampling, samples=samples), predictor.tiling(record)
        maps = InMemory(self.image, record, tiling.axis)
        sink = _Stoppable(maps, self._ending)
        findings = predictor.segment(self._input, tiling, self.name, sampling, self.seed, WANTED, sink)
        layers = {layer.name: layer for layer in prediction_layers(maps, predictor.plan, samples)}
        return Answer(samples, layers, findings)


@dataclass(frozen=True)
class _Stoppable:
    """A sink that takes no more once the viewer ends."""

    maps: InMemory
    ending: threading.Event

    def put(self, name: str, start: int, planes: NDArray[Any]) -> None:
        """See `inference.answer.Sink`."""
        if self.ending.is_set():
            raise Stopped
        self.maps.put(name, start, planes)
