"""Output writers by name, the file ending of those for images. A new one: a file here, a line below. (A new
image format is an entry of `ldseg.data.formats.FORMATS`.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ldseg.data.formats import writable_endings
from ldseg.errors import InputError
from ldseg.inference.output_writers.base import BuildOutputWriter, OutputWriter
from ldseg.inference.output_writers.image_file import ImageFileWriter
from ldseg.planning.plan import Plan
from ldseg.utils.registry import Registry

_NUMBERS = ("probabilities", "uncertainty")

OUTPUT_WRITERS: Registry[BuildOutputWriter] = Registry(
    "format", {ending: partial(ImageFileWriter, ending) for ending in writable_endings()}
)


def find_output_writer(name: str) -> BuildOutputWriter:
    """Return what builds the writer of this name. Raises InputError if there is none, or it was not
    admitted."""
    try:
        return OUTPUT_WRITERS.find(name)
    except ValueError as error:
        raise InputError(str(error)) from error


def make_output_writer(name: str, plan: Plan, save: Sequence[str]) -> OutputWriter:
    """Return the writer of this name for a model's predictions.

    Raises:
        InputError: there is none, or `save` asks for numbers and it writes label maps only.
    """
    writer = find_output_writer(name)(plan)
    refused = [one for one in save if one in _NUMBERS and writer.number_ending is None]
    if refused:
        raise InputError(f"format is {name}, which holds label maps only; leave {refused[0]} out of --save")
    return writer
