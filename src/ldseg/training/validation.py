"""Validation by sampling, with figures that reveal a degenerate model.

The ceiling is the Dice of decode(encode(y)) without the image. The shuffled Dice is that of predictions made
for another case's image: near the real one, the image is being ignored. The spread is the variance of the
clean latent over positions and cases, as a share of its power: near zero, the latent is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ldseg.methods.base import Segmenter
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.metrics.dice import dice
from ldseg.settings import RunSettings
from ldseg.utils.device import autocast, memory_format

COLLAPSED = 0.02
IGNORES_IMAGE = 0.9
_NEAR_EMPTY = 0.05


@dataclass(frozen=True)
class Validation:
    """Mean Dice over foreground classes present in the reference; None where it has no meaning."""

    dice: float
    class_dice: tuple[float, ...]
    shuffled_dice: float | None
    ceiling: float | None
    latent_spread: float | None

    def warnings(self) -> list[str]:
        """Return warnings about a degenerate model."""
        found: list[str] = []
        if self.latent_spread is not None and self.latent_spread < COLLAPSED:
            found.append(
                f"the latent has collapsed (spread {self.latent_spread:.3f}): it carries no label; "
                "raise loss.reconstruction or keep loss.stop_latent_gradient on"
            )
        shuffled = self.shuffled_dice
        if shuffled is not None and self.dice > _NEAR_EMPTY and shuffled > IGNORES_IMAGE * self.dice:
            has_latent = self.ceiling is not None
            remedy = (
                "raise --model.noise.pure_noise_share" if has_latent else "check which masks belong to which"
            )
            found.append(
                f"the image is hardly used (Dice {self.dice:.3f}, with another case's image {shuffled:.3f}): "
                f"normal at the start and where cases look alike, else {remedy}"
            )
        return found


@torch.inference_mode()
def validate(
    model: Segmenter,
    cases: Sequence[tuple[Tensor, Tensor]],
    settings: RunSettings,
    device: torch.device,
) -> Validation:
    """Score `model` on patches (x (M, *patch), y (*patch))."""
    matched = _DiceAccumulator(model.classes)
    shuffled = _DiceAccumulator(model.classes)
    ceiling = _DiceAccumulator(model.classes)
    latents: list[Tensor] = []
    for index, (x, y) in enumerate(cases):
        other = cases[(index + 1) % len(cases)][0]
        y = y[None].to(device)
        matched.add(_logits(model, x, settings, device, index), y)
        shuffled.add(_logits(model, other, settings, device, index), y)
        if isinstance(model, LDSeg):
            with autocast(device, settings.training.precision):
                latents.append(model.label_encoder(y))
                ceiling.add(model.reconstruct(y), y)
    spread: float | None = None
    if latents and any(bool((y > 0).any()) for _, y in cases):  # empty label maps are all alike
        z = torch.cat(latents)
        variance = z.var((0, *range(2, z.ndim)), correction=0).mean()
        spread = float((variance / z.square().mean().clamp_min(1e-12)).item())
    return Validation(
        dice=matched.mean(),
        class_dice=matched.per_class(),
        shuffled_dice=shuffled.mean() if len(cases) > 1 else None,
        ceiling=ceiling.mean() if latents else None,
        latent_spread=spread,
    )


def _logits(model: Segmenter, x: Tensor, settings: RunSettings, device: torch.device, index: int) -> Tensor:
    """Return the logits (1, K, *patch) of one prediction of x (M, *patch), with the noise of case `index`."""
    x = x[None].to(device).contiguous(memory_format=memory_format(settings.model.spatial_dims))
    generator, sampling = torch.Generator().manual_seed(index), settings.sampling
    with autocast(device, settings.training.precision):
        return model.sample(x, 1, sampling.steps, sampling.sampler, generator)[:, 0]


class _DiceAccumulator:
    """Dice per case and class, kept where the reference has the class or the prediction claims it."""

    def __init__(self, classes: int) -> None:
        self.scores: list[list[float]] = [[] for _ in range(classes - 1)]

    def add(self, logits: Tensor, y: Tensor) -> None:
        predicted = logits.argmax(1)
        labelled = y >= 0
        for index, scores in enumerate(self.scores, start=1):
            a, b = (predicted == index) & labelled, y == index
            if (a | b).any():
                scores.append(dice(a, b))

    def per_class(self) -> tuple[float, ...]:
        return tuple(sum(s) / len(s) if s else 1.0 for s in self.scores)

    def mean(self) -> float:
        return sum(self.per_class()) / len(self.scores)
