"""Intensity ranges of the images of a data set: number types, minimum and maximum, and white levels.

The plan stores the ranges of the training images, so that an image on another number scale is converted or
rejected, and never segmented as if it were dark or saturated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ldseg.data.volume import Volume

WHITE_LEVELS = (255.0, 4095.0, 65535.0)
"""White at 8, 12 and 16 bits; numbers without a declared scale get the smallest that holds them."""
_BEYOND = 0.05
"""Share of the white level by which interpolated floats may exceed black and white."""
AIR = -200.0
"""Hounsfield units; every CT image that shows air has lower values."""


@dataclass(frozen=True)
class ImageRange:
    """The intensity range of one image as stored in its file."""

    name: str
    stored: str
    """Number type, e.g. "uint8"."""
    minimum: tuple[float, ...]
    """One per channel."""
    maximum: tuple[float, ...]


@dataclass(frozen=True)
class ChannelRange:
    """The intensity range of one channel over the training images, as stored in the files."""

    stored: tuple[str, ...]
    """Number types, e.g. "uint8"."""
    minimum: float
    maximum: float
    highest_minimum: float
    """The largest of the images' minima: every training image has a value this low."""
    lowest_maximum: float
    """The smallest of the images' maxima."""
    constant: int = 0
    """Number of training images in which this channel is constant; the two fields above exclude them."""


def image_range(name: str, image: Volume) -> ImageRange:
    """Return the intensity range of a volume as it was read."""
    flat = image.array.reshape(len(image.array), -1)
    low, high = flat.min(1).astype(np.float64), flat.max(1).astype(np.float64)
    return ImageRange(name, number_type(image), tuple(low.tolist()), tuple(high.tolist()))


def number_type(image: Volume) -> str:
    """Return the number type in the file, or that of the array if it was not read from a file."""
    return image.stored or str(image.array.dtype)


def channel_ranges(images: Sequence[ImageRange]) -> tuple[ChannelRange, ...]:
    """Return the range of each channel over several images."""
    stored = tuple(sorted({image.stored for image in images}))
    found: list[ChannelRange] = []
    for channel in range(len(images[0].minimum)):
        pairs = [(image.minimum[channel], image.maximum[channel]) for image in images]
        varying = [pair for pair in pairs if pair[0] < pair[1]]
        low, high = zip(*(varying or pairs), strict=True)
        found.append(
            ChannelRange(
                stored,
                minimum=min(pair[0] for pair in pairs),
                maximum=max(pair[1] for pair in pairs),
                highest_minimum=max(low),
                lowest_maximum=min(high),
                constant=len(pairs) - len(varying),
            )
        )
    return tuple(found)


def white_level(stored: str, minimum: float, maximum: float) -> float | None:
    """Return the value of white in a colour image, or None if it is unknown.

    The type decides for 8 bits and for floats between 0 and 1. Other numbers are of 8, 12 or 16 bits,
    whatever type holds them: software widens types, and no useful image fills a sixteenth of its range.
    """
    floating = stored.startswith("float")
    slack = 1 + _BEYOND if floating else 1.0
    if minimum < (-_BEYOND * max(maximum, 0.0) if floating else 0.0):
        return None
    if stored == "uint8":
        return 255.0
    if stored == "bool" or (floating and maximum <= slack):
        return 1.0
    fitting = [level for level in WHITE_LEVELS if maximum <= level * slack]
    return fitting[0] if fitting else (4294967295.0 if stored == "uint32" else None)


def white_of(image: ImageRange) -> float | None:
    """Return the white level of one image, the same for all its channels."""
    return white_level(image.stored, min(image.minimum), max(image.maximum))


def common_white(images: Sequence[ImageRange]) -> float | None:
    """Return the most common white level of several images; None if one of them is unknown."""
    levels = [white_of(image) for image in images]
    known = [level for level in levels if level is not None]
    if len(known) < len(levels):
        return None
    counts = Counter(known)
    return max(counts, key=lambda level: (counts[level], level))


def scale_name(level: float | None) -> str:
    """Return the name of a number scale."""
    if level is None:
        return "values of no known scale"
    return {1.0: "values from 0 to 1", 255.0: "8 bits", 4095.0: "12 bits", 65535.0: "16 bits"}.get(
        level, "32 bits"
    )


def mixed_scales(images: Sequence[ImageRange], colour: bool) -> tuple[str, ...]:
    """Return remarks about inconsistent number scales in a data set; usually none.

    Colour images are compared by their white level. Gray ones have no scale of their own (each is normalized
    by its own mean and deviation), but Hounsfield units beside shifted ones are found: where most images go
    far below zero, all should.
    """
    varying = [image for image in images if min(image.minimum) < max(image.maximum)]
    if len(varying) < 2:
        return ()
    if colour:
        levels = {image.name: white_of(image) for image in varying}
        counts = Counter(levels.values()).most_common()
        parts = [
            f"{count} with {scale_name(level)} (e.g. {next(n for n, one in levels.items() if one == level)})"
            for level, count in counts
        ]
        said = f"the colour images are of different number scales: {', '.join(parts)}; each is converted"
        return (said,) if len(counts) > 1 else ()
    found: list[str] = []
    for channel in range(len(varying[0].minimum)):
        shifted = [image.name for image in varying if image.minimum[channel] >= 0]
        below = [image for image in varying if image.minimum[channel] <= AIR]
        if shifted and len(below) > len(shifted) and len(below) + len(shifted) >= 0.9 * len(varying):
            found.append(
                f"{len(shifted)} of {len(varying)} images have no value below 0, e.g. {shifted[0]}, and the "
                f"others go below {AIR:g}: if they are CT images, their offset is missing (subtract 1024)"
            )
    return tuple(found)


def misses_offset(image: ImageRange, channel: int, usual: ChannelRange) -> bool:
    """Return whether a channel in Hounsfield units lacks the negative values of all training images."""
    return usual.highest_minimum <= AIR and image.minimum[channel] >= 0
