"""What is measured on a GPU: plans of images of fixed size, training steps of three networks, and images.

`default` is the latent diffusion model and `unet` its baseline, with ldseg's training step: loss, gradient,
Muon, moving average; `paper` is the published recipe, which is checked and not timed. `dynunet` is MONAI's
DynUNet as nnU-Net v2 plans it for these patches (instance norm, SGD with momentum), without deep supervision,
with the loss of the others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.dynunet import DynUNet
from torch import Tensor, nn

from ldseg.data.dataset import open_dataset
from ldseg.data.phantom import write_phantom_dataset
from ldseg.data.volume import Volume
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.predictor import Predictor
from ldseg.methods.losses import segmentation_loss
from ldseg.planning.fingerprint import take_fingerprint
from ldseg.planning.plan import ChannelPlan, Plan, PlanSettings, make_plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter
from ldseg.settings import LossSettings, RunSettings
from ldseg.training.budget import make_budget
from ldseg.training.ema import make_ema_copy
from ldseg.training.train_step import TrainStep, make_optimizer
from ldseg.utils.device import autocast, memory_format, prepare_training

NETWORKS = ("default", "unet", "dynunet")
_BASELINES = {"default": "none", "unet": "unet", "paper": "none"}
_PRESETS = {"default": "default", "unet": "default", "paper": "paper"}
_NNUNET_WIDTHS = {2: (32, 64, 128, 256, 512, 512, 512, 512), 3: (32, 64, 128, 256, 320, 320)}


@dataclass(frozen=True)
class Workload:
    """A batch of patches."""

    name: str
    axes: Any
    patch: tuple[int, ...]
    channels: int
    batch: int
    image: tuple[int, ...]
    """The image that is predicted with this patch."""


WORKLOADS = (
    Workload("2d_512_batch_4", "yx", (512, 512), 3, 4, (512, 512)),
    Workload("2d_512_batch_16", "yx", (512, 512), 3, 16, (512, 512)),
    Workload("3d_128_batch_2", "zyx", (128, 128, 128), 1, 2, (128, 128, 256)),
    Workload("3d_128_batch_8", "zyx", (128, 128, 128), 1, 8, (128, 128, 256)),
)
TINY_WORKLOADS = (
    Workload("2d_64_batch_2", "yx", (64, 64), 3, 2, (64, 64)),
    Workload("3d_32_batch_2", "zyx", (32, 32, 32), 1, 2, (32, 32, 64)),
)
"""The same code in seconds on a CPU."""


def find_workloads(tiny: bool) -> tuple[Workload, ...]:
    """Return the workloads, or small ones that try the code."""
    return TINY_WORKLOADS if tiny else WORKLOADS


@cache
def plan_of(workload: Workload) -> Plan:
    """Return the plan of a data set of such images."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantom_dataset(Path(folder), workload.axes, cases=2, seed=0, shape=workload.image)
        dataset = open_dataset(Path(folder))
        fingerprint = take_fingerprint(dataset, dataset.cases)
        plan = make_plan(fingerprint, dataset, PlanSettings(patch=workload.patch, batch=workload.batch))
    channels = tuple(ChannelPlan(f"channel {n}", "zscore") for n in range(workload.channels))
    return replace(plan, channels=channels, resample=False)


def settings_of(plan: Plan, network: str, precision: Any = "bf16") -> RunSettings:
    """Return the settings of `default`, `unet` or `paper`."""
    baseline: Any = _BASELINES[network]
    settings = replace(PRESETS[_PRESETS[network]](plan), baseline=baseline)
    training = replace(settings.training, precision=precision, steps=100_000, batch=plan.batch)
    return replace(settings, training=training)


@dataclass(frozen=True)
class Step:
    """A training step on one batch, on its device already."""

    run: Callable[[], Any]
    model: nn.Module
    train_step: TrainStep | None = None
    """ldseg's, where it is one."""
    batch: tuple[Tensor, ...] = ()


def make_step(network: str, workload: Workload, device: torch.device) -> Step:
    """Return the training step of a network with fresh weights, in bf16."""
    prepare_training(device)
    torch.manual_seed(0)
    plan = plan_of(workload)
    x = torch.randn(workload.batch, workload.channels, *workload.patch, device=device)
    x = x.contiguous(memory_format=memory_format(len(workload.patch)))
    y = torch.randint(0, len(plan.classes), (workload.batch, *workload.patch), device=device)
    if network == "dynunet":
        return _dynunet_step(workload, len(plan.classes), x, y)
    settings = settings_of(plan, network)
    model: Any = build_segmenter(settings).to(device)
    model.to(memory_format=memory_format(len(workload.patch)))
    optimizer = make_optimizer(model, settings.training)
    step = TrainStep(model, make_ema_copy(model), optimizer, settings, device)
    budget = make_budget(settings.training, steps_per_epoch=1)

    def run() -> None:
        step.run(x, y, budget)
        budget.step += 1

    return Step(run, model, step, (x, y))


def _dynunet_step(workload: Workload, classes: int, x: Tensor, y: Tensor) -> Step:
    dimensions = len(workload.patch)
    widths = _NNUNET_WIDTHS[dimensions]
    while min(workload.patch) // 2 ** (len(widths) - 1) < 4:
        widths = widths[:-1]
    below = len(widths) - 1
    model: Any = DynUNet(
        dimensions,
        workload.channels,
        classes,
        kernel_size=[3] * len(widths),
        strides=[1] + [2] * below,
        upsample_kernel_size=[2] * below,
        filters=widths,
    ).to(x.device)
    model.to(memory_format=memory_format(dimensions))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.99, weight_decay=3e-5, nesterov=True)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(x.device, "bf16"):
            logits = model(x)
        segmentation_loss(logits, y, LossSettings()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 12.0)
        optimizer.step()

    return Step(run, model, batch=(x, y))


def predictor_of(plan: Plan, network: str, device: torch.device) -> Predictor:
    """Return an untrained model as `ldseg predict` uses it: weights do not change the cost."""
    settings = settings_of(plan, network, "auto")
    model: Any = build_segmenter(settings).eval().to(device)
    model.to(memory_format=memory_format(plan.dimensions))
    return Predictor(plan, settings, TorchBackend(model, device, "auto"))


def noise_image(workload: Workload) -> Volume:
    """Return standard normal voxels of 1 mm."""
    shape = workload.image
    array = np.random.default_rng(0).standard_normal((workload.channels, *shape), dtype=np.float32)
    d = len(shape)
    direction = tuple(np.eye(d).ravel().tolist())
    return Volume(array, (1.0,) * d, (0.0,) * d, direction, workload.axes, "image")
