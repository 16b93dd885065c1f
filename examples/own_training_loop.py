"""The model as a part of your own loop, with MONAI's transforms, data and losses around it.

    python examples/own_training_loop.py [STEPS]

What a method person changes is in `settings`: every field of the model is data.
"""

import sys
from dataclasses import replace

import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import Dataset
from monai.data.synthetic import create_test_image_2d
from monai.metrics.meandice import compute_dice
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import NormalizeIntensityd
from monai.transforms.utility.dictionary import EnsureChannelFirstd, ToTensord

from ldseg.methods.latent_diffusion import LDSeg
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.presets import PRESETS

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50
torch.manual_seed(0)

pairs = [create_test_image_2d(64, 64, num_objs=3, rad_max=12, num_seg_classes=1) for _ in range(16)]
transforms = Compose(
    [
        EnsureChannelFirstd(("image",), channel_dim="no_channel"),
        NormalizeIntensityd(("image",)),
        ToTensord(("image", "label")),
    ]
)
data = Dataset([{"image": image, "label": label} for image, label in pairs], transforms)
loader = DataLoader(data, batch_size=4, shuffle=True)

plan = Plan(
    version=1,
    dimensions=2,
    axes="yx",
    channels=(ChannelPlan("grey", "zscore"),),
    classes={"background": 0, "disc": 1},
    ignore_id=None,
    labels_above_zero=False,
    file_ending=".png",
    spacing=(1.0, 1.0),
    patch=(64, 64),
    tiled=False,
    strides=((2, 2), (2, 2), (2, 2)),
    latent_levels=2,
    latent_channels=8,
    widths=(16, 32, 64),
    batch=4,
    mirror_axes=(),
    training_memory_gb=1.0,
)
settings = PRESETS["default"](plan)
settings = replace(
    settings, model=replace(settings.model, noise=replace(settings.model.noise, schedule="linear"))
)

model = LDSeg.from_settings(settings.model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
step = 0
while step < steps:
    for batch in loader:
        losses = model.loss(batch["image"].float(), batch["label"].long())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        step += 1

model.eval()
with torch.inference_mode():
    x, y = batch["image"].float(), batch["label"].long()
    labels = model.sample(x)[:, 0].argmax(1, keepdim=True)
    dice = compute_dice(labels, y[:, None])
print(f"after {step} steps: Dice {dice.nanmean().item():.2f}")
