"""Predicts a 2D TIFF that is too large for memory: read by regions, segmented and written tile by tile."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.formats import TIFF_ENDINGS, ending
from ldseg.data.formats.tiff import size_of_page
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.data.formats.tiff_tiles import TiledTiffWriter
from ldseg.data.volume import Volume
from ldseg.inference.fit_to_memory import ImageCost, fit_to_memory
from ldseg.inference.output import SAMPLES, CaseSummary
from ldseg.inference.predictor import Predictor
from ldseg.inference.writer import MAP_OF, OutputFormat, output_paths, sample_number, wanted_maps
from ldseg.preprocessing.harmonize import harmonize
from ldseg.preprocessing.lazy_image import LazyImage
from ldseg.preprocessing.preprocess import notes_of
from ldseg.settings import SamplingSettings

LARGE = 2**26
"""Least number of pixels with which a TIFF is read by regions; 8192 x 8192."""
_PLANES = 512
"""Planes of a map that are read again at once."""
_READING = 3e8
"""Bytes for decoded parts of the file and for what is on its way to the disk."""


def is_large(case: Case, axes: str) -> bool:
    """Return True for a 2D TIFF of at least `LARGE` pixels, from its header alone."""
    path = case.images[0]
    if axes != "yx" or len(case.images) > 1 or ending(path) not in TIFF_ENDINGS:
        return False
    return size_of_page(path) >= LARGE


BeforeWriting = Callable[[CaseSummary], None]
"""Called when everything is computed and nothing is written."""


@dataclass(frozen=True)
class LargeOptions:
    """The maps to compute and the files to write."""

    save: tuple[str, ...]
    """Any of `writer.OUTPUTS`."""
    sampling: SamplingSettings
    seed: int
    max_memory: float | None
    """GB that the process may take in all; None: as much as the plan's patch needs."""
    format: OutputFormat


def predict_large(
    predictor: Predictor, case: Case, out: Path, options: LargeOptions, before_writing: BeforeWriting
) -> None:
    """Write the maps that are asked for into `out`.

    Raises:
        InputError: the file cannot be read by regions or has other channels than the model takes, the disk
            refuses, or `max_memory` GB are too little.
    """
    path, sampling = case.images[0], options.sampling
    wanted = wanted_maps(options.save, sampling.samples)
    source = TiffRegions(path, len(predictor.plan.channels), case.spacing)
    folder = Path(tempfile.mkdtemp(prefix=f".{case.name}.", dir=out))
    try:
        image = LazyImage(source, predictor.plan, str(path))
        if options.max_memory is not None:
            cost = ImageCost(image.grid, wanted, _READING)
            predictor = fit_to_memory(predictor, cost, sampling, options.max_memory)
        changed = harmonize(image, predictor.plan)
        outline = replace(source.outline, notes=(*case.notes, *source.outline.notes))
        notes = (*notes_of(outline, predictor.plan), *image.notes)
        chosen = predictor.choose_input(
            image, changed.image, (changed.deviations, changed.certain_deviations), notes, case.name
        )
        tiling = predictor.tiling(image.grid)
        sink = _FileSink(folder, source.outline, tiling.axis)
        before_writing(predictor.segment(chosen, tiling, case.name, sampling, options.seed, wanted, sink))
        for part, target in output_paths(out, case, options.save, sampling.samples, options.format).items():
            sink.spools[MAP_OF.get(part) or _sample(sample_number(part))].write(target)
        sink.close()
    finally:
        source.close()
        shutil.rmtree(folder, ignore_errors=True)


def _sample(number: int) -> str:
    return f"{SAMPLES}{number}"


@dataclass
class _FileSink:
    """A sink that writes maps to files."""

    folder: Path
    outline: Volume
    axis: int
    spools: dict[str, TiledTiffWriter] = field(default_factory=dict)
    """The file of each map; samples are numbered from 1."""

    def put(self, name: str, start: int, planes: NDArray[Any]) -> None:
        """Take planes of a map, see `output.Sink`."""
        if name == SAMPLES:
            for number, one in enumerate(planes, start=1):
                self._put(_sample(number), start, one[None])
        else:
            self._put(name, start, planes)

    def take(self, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a map in parts, and drop it."""
        spool = self.spools.pop(name)
        planes = spool.shape[1 + self.axis]
        for start in range(0, planes, _PLANES):
            part = range(start, min(planes, start + _PLANES))
            rows, columns = (part, range(spool.shape[2])) if self.axis == 0 else (range(spool.shape[1]), part)
            yield start, spool.read(rows, columns)
        spool.close()

    def close(self) -> None:
        """Close all files."""
        for spool in self.spools.values():
            spool.close()

    def _put(self, name: str, start: int, planes: NDArray[Any]) -> None:
        if name not in self.spools:
            kind = np.dtype(planes.dtype)
            self.spools[name] = TiledTiffWriter(self.folder / name, len(planes), self.outline, kind)
        self.spools[name].put((start, 0) if self.axis == 0 else (0, start), planes)
