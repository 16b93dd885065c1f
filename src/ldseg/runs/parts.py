"""The parts of a training that its settings name: each must be there before anything is prepared."""

from __future__ import annotations

from ldseg.diffusion.samplers import find_sampler
from ldseg.errors import InputError
from ldseg.methods.losses import LOSS_TERMS
from ldseg.preprocessing.augment import AUGMENTATIONS
from ldseg.settings import RunSettings
from ldseg.utils.registry import admit
from ldseg.utils.serialization import to_json


def admit_parts(settings: RunSettings, allow_code: bool, where: str) -> None:
    """Import the code outside of ldseg that the settings name, if that is allowed.

    Raises:
        InputError: it is not allowed, or the settings name a loss term, augmentation or sampler that there is
            not.
    """
    admit(to_json(settings), allow_code, where)
    try:
        for term in settings.loss.terms:
            LOSS_TERMS.find(term)
        for augmentation in settings.augment.pipeline:
            AUGMENTATIONS.find(augmentation)
        for sampling in (settings.sampling, settings.posterior):
            find_sampler(sampling.sampler)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
