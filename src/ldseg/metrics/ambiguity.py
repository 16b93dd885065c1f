"""Several raters, several samples: do the samples spread as the raters do?

n samples S and m raters Y of one case, label maps (*S); d = 1 - IoU. With several structures IoU and Dice are
means over them; two maps that both lack a structure agree on it (IoU and Dice 1, d = 0).

GED^2           2 E d(S, Y) - E d(S, S') - E d(Y, Y'), expectations over all pairs, a map with itself included
                (Szekely & Rizzo 2013; Kohl et al. 2018). 0 for equal distributions, lower is better.
HM-IoU          mean IoU of the best one-to-one matching of samples and raters, both repeated up to the least
                common multiple of n and m (Kohl et al. 2019). Higher is better.
Dice-match      mean over raters of the best Dice that any sample has with them (Rahman et al. 2023).
                It does not fall when samples are added: compare at equal n.
diversity       mean d over pairs of two different samples, and of two different raters: to be alike.
majority, STAPLE  Dice of the one fused answer with the raters fused so (see `fusion`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ldseg.data.cases import Case, DataSet
from ldseg.data.loading import load_case
from ldseg.inference.predictor import Predictor
from ldseg.metrics.label_fusion import majority, staple

Labels = NDArray[np.integer]
Matrix = NDArray[np.float64]
_BLOCK = 2**20  # voxels taken at once


@dataclass(frozen=True)
class Ambiguity:
    """One case; formulas at the top of this file."""

    ged2: float
    hm_iou: float
    dice_match: float
    sample_diversity: float
    """0 for one sample."""
    rater_diversity: float
    """0 for one rater."""
    majority_dice: float
    staple_dice: float


@dataclass(frozen=True)
class AmbiguityReport:
    """A set of cases; JSON by `records.to_json`."""

    samples: int
    mean: Ambiguity
    cases: dict[str, Ambiguity]


@dataclass(frozen=True)
class _Overlap:
    """Two lists of label maps, a (n) and b (m): voxels by structure."""

    common: Matrix
    """(structures, n, m)"""
    sizes_a: Matrix
    """(structures, n)"""
    sizes_b: Matrix
    """(structures, m)"""

    def iou(self) -> Matrix:
        """(n, m), mean over the structures."""
        union = self.sizes_a[:, :, None] + self.sizes_b[:, None] - self.common
        return np.divide(self.common, union, out=np.ones_like(union), where=union > 0).mean(0)

    def dice(self) -> Matrix:
        """(n, m), mean over the structures."""
        total = self.sizes_a[:, :, None] + self.sizes_b[:, None]
        return np.divide(2 * self.common, total, out=np.ones_like(total), where=total > 0).mean(0)


def measure_case(
    samples: Sequence[Labels],
    raters: Sequence[Labels],
    fused: Labels,
    structures: Sequence[int],
    ignore_id: int | None = None,
) -> Ambiguity:
    """All figures of one case from label maps (*S) with the ids `structures`.

    Voxels that any rater left unlabelled (`ignore_id`) do not count. Raises ValueError without a sample, a
    rater or a structure, and for maps of different shapes.
    """
    if not (samples and raters and structures):
        raise ValueError("give at least one sample, one rater and one structure")
    if len({one.shape for one in (*samples, *raters, fused)}) > 1:
        raise ValueError("the label maps have different shapes")
    said, true, answer = _labelled(samples, raters, fused, ignore_id)
    between = _overlap(said, true, structures)
    among_samples, among_raters = (_overlap(maps, maps, structures).iou() for maps in (said, true))
    references = [majority(true, structures), staple(true, structures)]
    agreed = _overlap([answer], references, structures).dice()[0]
    return Ambiguity(
        ged2=float(2 * (1 - between.iou()).mean() - (1 - among_samples).mean() - (1 - among_raters).mean()),
        hm_iou=matched(between.iou()),
        dice_match=float(between.dice().max(0).mean()),
        sample_diversity=_diversity(among_samples),
        rater_diversity=_diversity(among_raters),
        majority_dice=float(agreed[0]),
        staple_dice=float(agreed[1]),
    )


def matched(scores: Matrix) -> float:
    """Mean score of the best one-to-one matching of rows (n) and columns (m), each repeated to lcm(n, m)."""
    n, m = scores.shape
    common = math.lcm(n, m)
    repeated = np.tile(scores, (common // n, common // m))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())


def inclusion_frequency(samples: Sequence[Labels], region: NDArray[np.bool_], structure: int) -> float:
    """Share of the samples that give more than half of `region` (*S) to a structure.

    To be held against how often raters include the region.
    """
    if not region.any():
        raise ValueError("the region has no voxel")
    return float(np.mean([np.mean(one[region] == structure) > 0.5 for one in samples]))


def measure_ambiguity(
    predictor: Predictor,
    dataset: DataSet,
    cases: Iterable[Case],
    samples: int,
    steps: int | None = None,
    seed: int = 0,
) -> AmbiguityReport:
    """Draw samples of cases that several raters labelled, a case in memory at a time.

    Raises:
        InputError: a case cannot be read, or does not fit the model.
        ValueError: there are no cases.
    """
    structures = [label for label in predictor.plan.classes.values() if label != 0]
    found: dict[str, Ambiguity] = {}
    for case in cases:
        image, masks = load_case(dataset, case)
        said = predictor(
            image, case.name, steps, samples, seed=seed, keep_samples=True, source=str(case.images[0])
        )
        found[case.name] = measure_case(
            [one.array[0] for one in said.samples],
            [mask.array[0] for mask in masks],
            said.labels.array[0],
            structures,
            dataset.ignore_id,
        )
    return summarise(found, predictor.sampling(steps, samples).samples)


def summarise(cases: dict[str, Ambiguity], samples: int) -> AmbiguityReport:
    """The cases with their mean. Raises ValueError when there are none."""
    if not cases:
        raise ValueError("no cases: nothing has a mean")
    names = [field.name for field in fields(Ambiguity)]
    means = {name: float(np.mean([getattr(one, name) for one in cases.values()])) for name in names}
    return AmbiguityReport(samples, Ambiguity(**means), cases)


def _diversity(iou: Matrix) -> float:
    """Mean 1 - IoU over pairs of different maps, of the matrix over all pairs."""
    n = len(iou)
    return float((1 - iou).sum() / (n * (n - 1))) if n > 1 else 0.0


def _labelled(
    samples: Sequence[Labels], raters: Sequence[Labels], fused: Labels, ignore_id: int | None
) -> tuple[list[Labels], list[Labels], Labels]:
    """All maps as (N,) voxels that every rater labelled."""
    if ignore_id is None:
        return [one.ravel() for one in samples], [one.ravel() for one in raters], fused.ravel()
    kept = np.logical_and.reduce([one != ignore_id for one in raters])
    return [one[kept] for one in samples], [one[kept] for one in raters], fused[kept]


def _overlap(a: Sequence[Labels], b: Sequence[Labels], structures: Sequence[int]) -> _Overlap:
    """Of maps (N,), block by block."""
    common = np.zeros((len(structures), len(a), len(b)))
    sizes_a, sizes_b = np.zeros((len(structures), len(a))), np.zeros((len(structures), len(b)))
    for first in range(0, a[0].size, _BLOCK):
        part = slice(first, first + _BLOCK)
        for index, structure in enumerate(structures):
            in_a, in_b = (np.array([one[part] == structure for one in maps], np.float32) for maps in (a, b))
            common[index] += in_a @ in_b.T  # whole numbers below 2^24 are exact in float32
            sizes_a[index] += in_a.sum(1)
            sizes_b[index] += in_b.sum(1)
    return _Overlap(common, sizes_a, sizes_b)
