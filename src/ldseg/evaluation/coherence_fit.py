"""Fit how far samples vary together, by how well they tell the masks of raters, and their volumes.

A wrong length leaves each voxel's probability as it is and changes what is summed over many: samples that
vary too close by have volumes that hardly differ, those that vary too far apart have volumes that differ too
much, and parts that vary each for itself in truth vary as one. Two proper scores tell, both the energy score
E d(S, Y) - E d(S, S') / 2 of samples S for a truth Y (Gneiting & Raftery 2007): of whole maps, d = 1 - IoU,
and of volumes, d = |v - v'|, where it is the continuous ranked probability score. By maps alone, lengths are
often too close to be told apart, and volumes alone prefer samples that are as wide as level sets. So the
volumes choose among the lengths that tell maps about as well as the best.

S samples; K classes; *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.data.class_indices import IGNORE_INDEX
from ldseg.data.loading import load_case
from ldseg.data.volume import Volume
from ldseg.inference.coherence import Coherence, coherent_samples, gather
from ldseg.inference.posterior import likeliest, mean_weights
from ldseg.inference.predictor import Predictor
from ldseg.metrics.ambiguity import Overlap, count_overlap
from ldseg.preprocessing.preprocess import preprocess_labels
from ldseg.settings import SamplingSettings

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Lengths that are tried, in latent cells."""
TOLERANCE = 0.005
"""Share by which the score of maps may be above the least of all lengths."""
SHARPNESS = 0.9
"""Temperature of samples as a share of that of the mean. The distance of samples from raters (GED^2) is flat
there, 1 % above its least, while each rater's nearest sample is nearer (HM-IoU); `benchmarks/sampling.py`."""

Matrix = NDArray[np.float64]


def fit_coherence(
    predictor: Predictor,
    dataset: DataSet,
    cases: Sequence[Case],
    sampling: SamplingSettings,
    temperature: float,
    seed: int,
) -> Coherence | None:
    """Return the coherence with the least error of volumes, among those that tell the masks of cases that the
    model did not train on within `TOLERANCE` of the best; None where samples as they are drawn are that, or
    no case has a structure.

    The error of maps is the mean over cases and raters. The error of volumes is in units of a structure's
    mean true volume, the mean over structures and cases. Voxels that a rater left unlabelled do not count.

    Args:
        predictor: draws samples as they are.
        dataset: where the cases are.
        cases: labelled cases.
        sampling: of several samples.
        temperature: that of the mean probabilities; samples get `SHARPNESS` of it.
        seed: of the noise.

    Raises:
        InputError: a case cannot be read or does not fit the model.
    """
    plan = replace(predictor.plan, ignore_id=dataset.ignore_id)
    choices = (None, *(Coherence(length, SHARPNESS * temperature) for length in LENGTHS))
    maps: list[list[float]] = []
    volumes: list[list[Matrix]] = []
    sizes: list[Matrix] = []
    for case in cases:
        image, masks = load_case(dataset, case)
        raters = [preprocess_labels(mask, plan, case.name) for mask in masks]
        found = sample_overlaps(predictor, image, raters, case, sampling, choices, seed)
        maps.append([energy_score(1 - with_raters.iou(), 1 - among.iou()) for among, with_raters in found])
        volumes.append([volume_scores(with_raters) for _, with_raters in found])
        sizes.append(found[0][1].sizes_b.mean(1))
    mean_sizes = np.mean(sizes, axis=0) if sizes else np.zeros(1)
    known = mean_sizes > 0
    if not known.any():
        return None
    errors = (np.mean(volumes, axis=0)[:, known] / mean_sizes[known]).mean(1)
    of_maps = np.mean(maps, axis=0)
    return choices[int(np.where(of_maps <= (1 + TOLERANCE) * of_maps.min(), errors, np.inf).argmin())]


@torch.inference_mode()
def sample_overlaps(
    predictor: Predictor,
    image: Volume,
    raters: Sequence[NDArray[np.int16]],
    case: Case,
    sampling: SamplingSettings,
    choices: Sequence[Coherence | None],
    seed: int,
) -> list[tuple[Overlap, Overlap]]:
    """Return the overlaps of the samples of a case, for each choice of a coherence, with each other and with
    the masks of raters, classes (*S')."""
    chosen = predictor.preprocess(image, case.name, str(case.images[0])).image
    tiling = predictor.tiling(chosen.grid)
    tiles = predictor.tiles(sampling, case.name, seed)
    weights = mean_weights(sampling.samples, tiles.deterministic_predictions)
    structures = range(1, tiles.classes)
    found: list[tuple[Overlap, Overlap]] = []
    for tile in tiling.tiles():
        x = torch.from_numpy(chosen.read(tile.corner, tiling.patch))
        blocks = list(tiles.blocks(x, tile.corner, range(sampling.samples)))
        mean, cells = gather(blocks, predictor.backend.latent_factor, weights)
        inside = tile.inside(tiling.shape)
        true = [one[tile.region].ravel() for one in raters]
        counted = tile.weight[inside].numpy().ravel() * np.all([one != IGNORE_INDEX for one in true], axis=0)
        of_tile: list[tuple[Overlap, Overlap]] = []
        for coherence in choices:
            drawn: dict[int, NDArray[np.int16]] = {}
            for block in blocks if coherence is None else coherent_samples(mean, cells, coherence):
                if block.samples:
                    labels = likeliest(block.probabilities, 1).cpu().numpy()
                    drawn |= {n: one[inside].ravel() for n, one in zip(block.samples, labels, strict=True)}
            samples = [drawn[n] for n in sorted(drawn)]
            of_tile.append(
                (
                    count_overlap(samples, samples, structures, counted),
                    count_overlap(samples, true, structures, counted),
                )
            )
        found = [(a + c, b + d) for (a, b), (c, d) in zip(found, of_tile, strict=True)] if found else of_tile
    return found


def volume_scores(overlap: Overlap) -> Matrix:
    """Return the continuous ranked probability score of the volumes of samples for those of raters, by
    structure, the mean over raters, in voxels."""
    return np.array(
        [
            energy_score(np.abs(drawn[:, None] - true), np.abs(drawn[:, None] - drawn))
            for drawn, true in zip(overlap.sizes_a, overlap.sizes_b, strict=True)
        ]
    )


def energy_score(to_truth: Matrix, among: Matrix) -> float:
    """Return the energy score of S > 1 samples, without the bias of few samples, from their distances to m
    truths (S, m), of which it is the mean, and among each other (S, S)."""
    samples = len(among)
    return float(to_truth.mean() - among.sum() / (samples * (samples - 1)) / 2)
