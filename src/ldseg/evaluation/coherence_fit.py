"""Fit how far samples vary together, by how well the volumes of samples tell the true ones.

A wrong length leaves each voxel's probability as it is and changes what is summed over many: samples that
vary too close by have volumes that hardly differ, those that vary too far apart have volumes that differ too
much. S samples; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.cases import Case, DataSet
from ldseg.data.loading import load_case
from ldseg.data.units import voxel_size
from ldseg.data.volume import Volume
from ldseg.inference.coherence import Coherence, coherent_samples, gather
from ldseg.inference.posterior import count_classes, likeliest, mean_weights
from ldseg.inference.predictor import Predictor
from ldseg.settings import SamplingSettings

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Lengths that are tried, in latent cells."""


def fit_coherence(
    predictor: Predictor,
    dataset: DataSet,
    cases: Sequence[Case],
    true_volumes: dict[str, dict[str, list[float]]],
    sampling: SamplingSettings,
    temperature: float,
    seed: int,
) -> Coherence | None:
    """Return the coherence with the least error of volumes on cases that the model did not train on; None
    where the samples as they are drawn do better, or no volume is known.

    The error is the continuous ranked probability score (Gneiting & Raftery 2007) of a structure's volume
    over the samples, in units of its mean true volume, the mean over structures and cases.

    Args:
        predictor: draws samples as they are.
        dataset: where the cases are.
        cases: labelled cases.
        true_volumes: by case and structure, one of each rater; nothing where some voxels are unlabelled.
        sampling: of several samples.
        temperature: that of the mean probabilities.
        seed: of the noise.

    Raises:
        InputError: a case cannot be read or does not fit the model.
    """
    choices = (None, *(Coherence(length, temperature) for length in LENGTHS))
    errors: dict[str, list[NDArray[np.float64]]] = {}
    sizes: dict[str, list[float]] = {}
    for case in cases:
        known = true_volumes.get(case.name, {})
        if not known:
            continue
        image, _ = load_case(dataset, case)
        volumes = sample_volumes(predictor, image, case, sampling, choices, seed)
        for k, name in enumerate(predictor.plan.classes):
            for volume in known.get(name, ()):
                scores = [ranked_score(one, volume) for one in volumes[:, :, k]]
                errors.setdefault(name, []).append(np.array(scores))
                sizes.setdefault(name, []).append(volume)
    relative = [np.mean(errors[name], axis=0) / np.mean(sizes[name]) for name in errors if any(sizes[name])]
    return choices[int(np.mean(relative, axis=0).argmin())] if relative else None


@torch.inference_mode()
def sample_volumes(
    predictor: Predictor,
    image: Volume,
    case: Case,
    sampling: SamplingSettings,
    choices: Sequence[Coherence | None],
    seed: int,
) -> NDArray[np.float64]:
    """Return the volumes (choices, S, K) of the samples of a case for each choice of a coherence."""
    chosen = predictor.preprocess(image, case.name, str(case.images[0])).image
    tiling = predictor.tiling(chosen.grid)
    tiles = predictor.tiles(sampling, case.name, seed)
    weights = mean_weights(sampling.samples, tiles.deterministic_predictions)
    counts = np.zeros((len(choices), sampling.samples, tiles.classes))
    for tile in tiling.tiles():
        x = torch.from_numpy(chosen.read(tile.corner, tiling.patch))
        blocks = list(tiles.blocks(x, tile.corner, range(sampling.samples)))
        mean, cells = gather(blocks, predictor.backend.latent_factor, weights)
        for count, coherence in zip(counts, choices, strict=True):
            for block in blocks if coherence is None else coherent_samples(mean, cells, coherence):
                if block.samples:
                    labels = likeliest(block.probabilities, 1).cpu()
                    count[list(block.samples)] += count_classes(
                        tile, tiling.shape, labels, tiles.classes
                    ).numpy()
    return counts * voxel_size(predictor.plan.axes, chosen.grid.spacing)


def ranked_score(drawn: NDArray[np.float64], true: float) -> float:
    """Return the continuous ranked probability score E|X - y| - E|X - X'| / 2 of samples X (S,), S > 1, for
    the truth y, without the bias of few samples."""
    among = np.abs(drawn[:, None] - drawn).sum() / (len(drawn) * (len(drawn) - 1))
    return float(np.abs(drawn - true).mean() - among / 2)
