"""Describes preprocessing and postprocessing in words, for programs that run a graph without ldseg.

The words must agree with the code of `preprocessing` and `inference`; tests check that where they can.
"""

from __future__ import annotations

from ldseg.inference.onnx_spec import TilingSpec

TILING = TilingSpec(overlap=0.5, align=(), deviation=0.125, floor=1e-4)
"""The sliding window of `preprocessing.patches`."""

RULES = {
    "1 orientation": (
        "3D: turn and flip the axes so that array order z, y, x runs to superior, posterior, left (LPS). "
        "2D images stay as they are."
    ),
    "2 resampling": (
        "If `resample`: to the grid of `spacing`, each axis to round(size * own spacing / spacing) voxels "
        "over the same extent, cubic (Keys, a = -1/2, widened where it shrinks); linear along an axis more "
        "than 3 times as coarse as the finest; never along t. An image without a physical spacing keeps "
        "its own voxels where `physical_spacing` is true, and so does one with it where that is false."
    ),
    "3 normalisation": (
        "Per channel by its scheme. zscore: (v - mean) / deviation, both over the image. foreground: clip to "
        "[low, high], then (v - mean) / deviation of the channel. range: clip to [low, high], then low "
        "becomes -2 and high 2. minmax: as range, low and high being the image's own. unit: the least value "
        "of all channels becomes 0, the largest 1. A constant image becomes 0. none: the values as they are."
    ),
    "between 3 and 4, ldseg only": (
        "An image that is noisier, more blurred or of another contrast than the training images "
        "(`appearance` in plan.json) is brought nearer to them. All others stay as they are; where no such "
        "images come, leave it out."
    ),
    "4 padding": "At the end of each axis, with 0, to what the patches cover; at least one patch.",
    "5 tiling": (
        "An image larger than `patch` is covered by patches in even steps, neighbours sharing at least "
        "`tiling.overlap`, corners multiples of `tiling.align`. They are averaged with weights w: product "
        "over the axes of exp(-d^2 / 2), d the distance from the patch's middle in units of "
        "`tiling.deviation` times the patch, divided by the patch's largest w, and at least `tiling.floor`."
    ),
    "6 noise": (
        "Standard normal. All patches of one sample read theirs from one field on the latent grid of the "
        "whole image (voxel / latent_factor), so that they agree where they overlap; other samples, and each "
        "draw of fresh_noise, have fields of their own. The first `global_channels` channels hold one "
        "number for each sample, the same in all cells of all patches. Any generator will do; ldseg's own "
        "values depend on seed, case, sample, draw and place."
    ),
    "7 answer": (
        "Mean of the probabilities over the samples (the first `answers` maps are no samples; if there are "
        "several samples, their mean has the share `answers_weight`, else none) and, with their "
        "weights, over the patches. Bring it back to the image's grid (linear), undo the orientation, take "
        "the likeliest class of each voxel, and write its id. If `recalibration.decision` is expected-dice, "
        "ldseg adds an offset to the log-probabilities of each structure before, those with the highest mean "
        "Dice between the labels and the samples' own."
    ),
    "8 recalibration": (
        "With temperature T, for a single prediction `single_temperature` unless null: p becomes p^(1/T) "
        "divided by its sum over the classes, on the image's grid; the labels stay. With widening w: the "
        "interval of a volume grows by w times its mean on both sides. "
        "With dice_loss_factor f: where the mean Dice of labels with the samples is D, expect 1 - f (1 - D). "
        "With `coherence`, single samples are made of the mean, patch by patch: average each sample's "
        "probabilities over blocks of latent_factor voxels, subtract their mean over the samples, and smooth "
        "with a Gaussian of `length` blocks; g = 1/2 logit((rank among samples, from 0, + 1/2) / samples) of "
        "each block and class is interpolated linearly to voxels; the sample's label is the class with the "
        "greatest (log of the mean probability) / (temperature of the coherence) + g."
    ),
}
