"""An output writer of image files, in any format that `ldseg.data.formats` writes."""

from __future__ import annotations

from pathlib import Path

from ldseg.data.formats import check_labels_of, format_of, holds_pictures_only, output_ending
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.output_writers.base import OutputWriter
from ldseg.planning.plan import Plan

_MANY = 2  # channels; too many for fractional numbers in PNG, BMP or JPEG


class ImageFileWriter(OutputWriter):
    """Writes image files with an ending, or the nearest one that holds the map (see `output_ending`). Raises
    InputError if the files hold 2D images only, and the model's are others."""

    def __init__(self, ending: str, plan: Plan) -> None:
        name = f"results{ending}"
        if plan.axes != "yx" and holds_pictures_only(name):
            finding = f"format is {ending}, which holds 2D images only, and the model's are {plan.axes}"
            raise InputError(f"{finding}; choose .nii.gz or .tif")
        self.label_ending = output_ending(name, axes=plan.axes)
        self.number_ending = output_ending(name, _MANY)

    def write(self, path: Path, volume: Volume) -> None:
        format_of(path).write(path, volume)

    def check(self, image: Volume, source: Path) -> None:
        check_labels_of(image, source, self.label_ending)
