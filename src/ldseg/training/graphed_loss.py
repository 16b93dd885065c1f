"""Loss and gradient of a step as a CUDA graph: one start instead of a thousand.

The number of cases that are decoded without the image differs between steps, and with it the work, so that
there is a graph for each number. Clipping, optimizer and moving average stay outside: their rates change from
step to step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ldseg.errors import InputError
from ldseg.methods.base import Losses, Segmenter
from ldseg.methods.latent_diffusion import LDSeg, count_reconstructed
from ldseg.presets import default_model
from ldseg.settings import RunSettings
from ldseg.utils.cuda_graph import Capture, capture
from ldseg.utils.device import autocast

_TRIED = default_model(2, 1, 2)
"""Its architectures were trained by graphs, as latent diffusion and as a U-Net."""
_LITTLE = 1e-9
"""Less than the distance of a float32 below 1 from it: a chance and this are together below 1."""


def starts_graphs(settings: RunSettings, device: torch.device, processes: int) -> bool:
    """Return whether a training on the device starts its steps as CUDA graphs: as the settings say, and where
    they leave it open, if one process trains what is known to be recorded well."""
    training, model = settings.training, settings.model
    if device.type != "cuda":
        return False
    if training.cuda_graphs is not None:
        return training.cuda_graphs
    parts = ("label_encoder", "image_encoder", "denoiser", "decoder")
    usual = all(getattr(model, one).architecture == getattr(_TRIED, one).architecture for one in parts)
    changed = training.compile or training.activation_checkpointing
    return processes == 1 and usual and not changed and settings.baseline in ("none", "unet")


@dataclass(frozen=True)
class _Graph:
    """A recorded step and what it leaves in its memory."""

    replay: Callable[[], None]
    losses: Losses
    gradients: tuple[Tensor | None, ...]


@dataclass
class GraphedLoss:
    """Losses and gradients of a model by graphs, recorded when they are first needed."""

    model: Segmenter
    settings: RunSettings
    device: torch.device
    capture: Capture = capture
    _batch: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _graphs: dict[int, _Graph] = field(default_factory=dict, repr=False)

    def __call__(self, x: Tensor, y: Tensor, seed: int) -> Losses:
        """Return the losses of a batch, all of one shape, and leave their gradient in the parameters.

        Times, noise and dropout come from PyTorch's default generators, seeded with `seed`.

        Raises:
            InputError: the step cannot be recorded.
        """
        if self._batch is None:
            self._batch = x.clone(), y.clone()
        for kept, one in zip(self._batch, (x, y), strict=True):
            kept.copy_(one)
        torch.manual_seed(seed)
        loss = self.settings.loss
        number = count_reconstructed(len(x), loss, None) if isinstance(self.model, LDSeg) else 0
        if number not in self._graphs:
            self._graphs[number] = self._record(number, self._batch)
        torch.manual_seed(seed)  # recording has drawn
        graph = self._graphs[number]
        graph.replay()
        for parameter, gradient in zip(self.model.parameters(), graph.gradients, strict=True):
            parameter.grad = gradient
        return graph.losses

    def _record(self, reconstructed: int, batch: tuple[Tensor, Tensor]) -> _Graph:
        """Record the step with this many reconstructed cases."""
        x, y = batch
        # The number is the share of the cases, rounded up or down by chance. This share, which is a little
        # above the number's since it may not be 0, leaves no choice.
        share = min(1.0, (reconstructed + _LITTLE) / len(x))
        loss = replace(self.settings.loss, reconstruction_share=share)

        def work() -> Losses:
            self.model.zero_grad(set_to_none=True)
            with autocast(self.device, self.settings.training.precision):
                losses = self.model.loss(x, y, None, loss)
            losses.total.backward()
            # The graph of this gradient, kept alive, would be in the way of the next recording.
            return replace(losses, total=losses.total.detach())

        try:
            replay, losses = self.capture(work)
        except RuntimeError as error:  # no memory, or work that waits for the GPU
            finding = str(error).partition("\n")[0]
            raise InputError(
                f"the steps of this training cannot be recorded as a CUDA graph ({finding}); "
                "choose --training.cuda_graphs false"
            ) from error
        return _Graph(replay, losses, tuple(parameter.grad for parameter in self.model.parameters()))
