"""Components that a bundle's configs/inference.json names, for MONAI to build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ldseg.data.cases import Case
from ldseg.data.formats.dicom.segments import SEGMENTS_FILE, read_codes
from ldseg.data.inputs import find_inputs
from ldseg.export.exportable_sampler import ExportableSampler, count_draws
from ldseg.inference.backends.torch_backend import find_tta_axis
from ldseg.inference.case_noise import CaseNoise
from ldseg.inference.predict_cases import PredictOptions, Summary, predict_cases
from ldseg.inference.predictor import Predictor

_MODELS = "models"  # the folder of a bundle's model
_PATCH_NAME = "patch"  # stands for the case's name, which a network on its own does not know


def load_bundle(bundle_root: str, device: str | torch.device | None = None) -> Predictor:
    """Load the predictor of a bundle; InputError when a file in its folder `models` cannot be used."""
    return Predictor.load(Path(bundle_root) / _MODELS, None if device is None else str(device))


def find_images(dataset_dir: str, predictor: Predictor) -> list[Case]:
    """Find the images in a folder; InputError when there are none, or a channel is missing."""
    plan = predictor.plan
    return find_inputs([Path(dataset_dir)], len(plan.channels), plan.axes, plan.stored_in_channel_files)


class BundleRun:
    """Segments all images; an evaluator in MONAI's terms."""

    def __init__(
        self,
        predictor: Predictor,
        cases: Sequence[Case],
        output_dir: str,
        samples: int,
        save: Sequence[str],
        seed: int = 0,
        bundle_root: str | None = None,
    ) -> None:
        """`bundle_root` is where codes of DICOM segmentations may lie beside the model; None: default codes.

        Raises:
            InputError: such codes are damaged, or an option cannot be used.
        """
        self.predictor = predictor
        self.cases = cases
        self.folder = Path(output_dir)
        file = None if bundle_root is None else Path(bundle_root) / _MODELS / SEGMENTS_FILE
        codes = {} if file is None or not file.is_file() else read_codes(file, predictor.plan.classes)
        self.options = PredictOptions(samples=samples, save=tuple(save), seed=seed, codes=codes)

    def run(self) -> Summary:
        """Write the results; InputError when an image cannot be used."""
        return predict_cases(self.predictor, self.cases, self.folder, self.options)


class PatchNetwork(nn.Module):
    """Maps a normalized patch (B, M, *S) to mean probabilities (B, K, *S), the deterministic
    prediction or the mean of samples, with noise of its own.

    Whole images are better given to the predictor, which tiles, resamples and normalises.
    """

    def __init__(self, predictor: Predictor, seed: int = 0) -> None:
        super().__init__()
        self.sampling = predictor.sampling()
        self.sampler = ExportableSampler(
            predictor.segmenter, self.sampling, find_tta_axis(predictor.plan, self.sampling)
        )
        self.seed = seed

    def forward(self, image: Tensor) -> Tensor:
        model = self.sampler.segmenter
        if self.sampling.single_call or not model.stochastic:  # the deterministic prediction takes no noise
            return self.sampler.mean(self.sampler(image))
        channels, factor = model.latent_channels, model.latent_factor
        noise = CaseNoise(self.seed, _PATCH_NAME, channels, factor, model.global_channels)
        patch, samples = image.shape[2:], range(self.sampling.samples)
        corner = [0] * len(patch)
        steps = [
            noise.read(step, corner, patch, samples).to(image.device).expand(len(image), *[-1] * image.ndim)
            for step in range(1 + count_draws(self.sampler.segmenter, self.sampling))
        ]
        fresh = torch.stack(steps[1:], 2) if len(steps) > 1 else None
        return self.sampler.mean(self.sampler(image, steps[0], fresh))
