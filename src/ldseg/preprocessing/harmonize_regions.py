"""`harmonize` for images too large to be held: the same, but for rounding, region by region.

An image that looks like those of training is looked at once and then read as it is. One that does not is
looked at again for each thing that has to be known of the whole after it was changed, and each region is
changed as it is read. 2D only: M channels; *S' = (Y', X') the network's grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ldseg.planning.intensity_statistics import ChannelStatistics
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.preprocessing.harmonize import (
    BEYOND,
    CLEARLY,
    Found,
    filtered,
    gains_of,
    name_intensities,
    nearest_line,
    power_of,
    raised,
    reach,
)
from ldseg.preprocessing.intensity_statistics import (
    Array,
    Numbers,
    block_regions,
    detail_of_blocks,
    intensities_of_sample,
    rich,
    sample_grid,
)
from ldseg.preprocessing.normalize import OWN_SCALE, find_scale
from ldseg.preprocessing.preprocess import GridTransform, PatchSource

_TILE = 1024
"""Voxels along a side of what is held while the whole is looked at."""

Change = Callable[[Array], Array]


@dataclass(frozen=True)
class LazilyHarmonized:
    """See `Harmonized`."""

    image: PatchSource
    """The same as before where nothing was changed."""
    unlike: tuple[str, ...]
    certain: tuple[str, ...]


def harmonize_lazily(image: PatchSource, plan: Plan) -> LazilyHarmonized:
    """Return the image brought nearer to the training images, and in which ways it was unlike them."""
    found = Found()
    if not plan.appearance:
        return LazilyHarmonized(image, (), ())
    channels = [_Channel(*pair) for pair in zip(plan.channels, plan.appearance, strict=True)]
    made = _Harmonized(image, plan, channels)
    made.look_at_colours(found)
    made.look_at_detail(found)
    if found.ways:
        made.set_again()
    made.look_at_intensities(found)
    changed = made if found.farthest > BEYOND else image
    return LazilyHarmonized(changed, found.unlike(), found.unlike(CLEARLY))


@dataclass
class _Channel:
    """What becomes of one channel: first the bands of its detail, then its intensities."""

    plan: ChannelPlan
    usual: ChannelStatistics
    constant: bool = False
    gains: Numbers | None = None
    changes: list[Change] = field(default_factory=list[Change])

    def change(self, values: Array, inner: tuple[slice, ...], plan: Plan) -> Array:
        """The voxels `inner` of a region that has a margin around them."""
        if self.gains is not None:
            values = filtered(values, plan, self.gains)
        values = values[inner]
        for change in self.changes:
            values = change(values)
        return values


@dataclass(frozen=True)
class _Survey:
    """Of the whole image as it has become so far, by channel."""

    ranks: list[Numbers]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class _Harmonized:
    """See `prepare.PatchSource`."""

    image: PatchSource
    plan: Plan
    channels: list[_Channel]

    @property
    def grid(self) -> GridTransform:
        """The grid of the image."""
        return self.image.grid

    def read(self, corner: Sequence[int], patch: Sequence[int]) -> Array:
        """See `prepare.PatchSource`."""
        ends = [min(c + p, n) for c, p, n in zip(corner, patch, self.grid.shape, strict=True)]
        values = self._changed([slice(c, end) for c, end in zip(corner, ends, strict=True)])
        result = np.zeros((len(values), *patch), dtype=np.float32)
        result[(slice(None), *(slice(0, n) for n in values.shape[1:]))] = values
        return result

    def look_at_colours(self, found: Found) -> None:
        """Name what is unusual in intensities that stay as they are."""
        if any(channel.plan.scheme == "range" for channel in self.channels):
            survey = self._survey()
            for n, channel in enumerate(self.channels):
                if channel.plan.scheme == "range" and survey.low[n] < survey.high[n]:
                    name_intensities(survey.ranks[n], channel.usual.intensities, found)

    def look_at_detail(self, found: Found) -> None:
        """Find the gains of each channel."""
        regions = block_regions(self.grid.shape, self.plan)
        looks = (self._before(region) for region in regions)
        seen = np.array([[one.std((1, 2)), one.min((1, 2)), one.max((1, 2))] for one in looks])
        for n, (channel, (content, low, high)) in enumerate(zip(self.channels, seen.T, strict=True)):
            channel.constant = low.min() == high.max()
            if not channel.constant:
                blocks = (self._before(region)[n] for region in rich(content.tolist(), regions, self.plan))
                channel.gains = gains_of(detail_of_blocks(blocks, self.plan), channel.usual, found)

    def set_again(self) -> None:
        """Find the brightness and contrast of channels whose detail was changed, of colours all together."""
        colours = self._varying(("range",))
        if colours:
            survey = self._survey()
            for n in colours:
                channel = self.channels[n]
                channel.changes.append(_line(*nearest_line(survey.ranks[n], channel.usual.intensities)))
        for n in self._varying(OWN_SCALE):
            if self.channels[n].gains is not None:
                self.channels[n].changes.append(self._standard(n))

    def look_at_intensities(self, found: Found) -> None:
        """Find the power to which intensities are raised, where they have no meaning of their own."""
        relative = self._varying(OWN_SCALE)
        if not relative:
            return
        survey = self._survey()
        for n in relative:
            channel, low, high = self.channels[n], survey.low[n], survey.high[n]
            power = power_of(survey.ranks[n], low, high, channel.usual.intensities, found)
            if power is not None:
                channel.changes.append(_power(low, high, power))
                channel.changes.append(self._standard(n))

    def _varying(self, schemes: Sequence[str]) -> list[int]:
        """The channels of these schemes that are not constant."""
        return [n for n, one in enumerate(self.channels) if one.plan.scheme in schemes and not one.constant]

    def _standard(self, n: int) -> Change:
        """To the mean and deviation of the whole of a channel."""
        scale = find_scale(self.channels[n].plan, (self._changed(tile)[n] for tile in self._tiles()))

        def change(values: Array) -> Array:
            out = np.empty_like(values)
            scale.apply(values, out)
            return out

        return change

    def _survey(self) -> _Survey:
        """Look at the whole, as far as it has been changed."""
        grid, seen = sample_grid(self.grid.shape), list[Array]()
        low, high = (np.full(len(self.channels), end, dtype=np.float32) for end in (np.inf, -np.inf))
        for tile in self._tiles():
            values = self._changed(tile)
            low, high = np.minimum(low, values.min((1, 2))), np.maximum(high, values.max((1, 2)))
            rows, columns = (_within(every, part) for every, part in zip(grid, tile, strict=True))
            seen.append(values[:, rows, columns].reshape(len(values), -1))
        ranks = [intensities_of_sample(one) for one in np.concatenate(seen, axis=1)]
        return _Survey(ranks, low.tolist(), high.tolist())

    def _tiles(self) -> Iterator[Sequence[slice]]:
        """The whole in parts."""
        starts = (range(0, n, _TILE) for n in self.grid.shape)
        for corner in product(*starts):
            yield [slice(c, min(c + _TILE, n)) for c, n in zip(corner, self.grid.shape, strict=True)]

    def _before(self, region: Sequence[slice]) -> Array:
        """A region within the image, (M, *R), as it is."""
        return self.image.read([part.start for part in region], [part.stop - part.start for part in region])

    def _changed(self, region: Sequence[slice]) -> Array:
        """A region within the image, (M, *R), as far as is known what becomes of it."""
        margin = reach(self.plan) if any(one.gains is not None for one in self.channels) else 0
        grown = [
            slice(max(0, part.start - margin), min(n, part.stop + margin))
            for part, n in zip(region, self.grid.shape, strict=True)
        ]
        before = self._before(grown)
        inner = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(region, grown, strict=True)
        )
        return np.stack(
            [one.change(values, inner, self.plan) for one, values in zip(self.channels, before, strict=True)]
        )


def _within(every: slice, part: slice) -> slice:
    """Which voxels of a part are among those of the whole that `every` takes."""
    first = every.start + max(0, -((every.start - part.start) // every.step)) * every.step
    return slice(first - part.start, part.stop - part.start, every.step)


def _line(contrast: np.float32, brightness: np.float32) -> Change:
    return lambda values: contrast * values + brightness


def _power(low: float, high: float, power: float) -> Change:
    return lambda values: raised(values, low, high, power)
