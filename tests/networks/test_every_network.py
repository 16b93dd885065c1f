"""What holds for every network in a registry, in 2D and 3D.

A new entry is tested without a line here: in the first preset that names it, else in the place of the default
preset's network, with default options of its own. So are the examples of networks of another package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldseg.data.volume import volume_of_array
from ldseg.inference.predictor import Predictor
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.networks.denoisers import DENOISERS
from ldseg.networks.image_encoders import IMAGE_ENCODERS
from ldseg.networks.label_decoders import LABEL_DECODERS
from ldseg.networks.label_encoders import LABEL_ENCODERS
from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import load_model, save_model
from ldseg.settings import RunSettings
from ldseg.utils import registry
from ldseg.utils.registry import admit

REGISTRIES = {
    "label_encoder": LABEL_ENCODERS,
    "image_encoder": IMAGE_ENCODERS,
    "denoiser": DENOISERS,
    "decoder": LABEL_DECODERS,
}
NETWORKS = [(part, name) for part, known in REGISTRIES.items() for name in known]
NETWORKS += [("denoiser", "dit_denoiser:DiT"), ("image_encoder", "monai_encoder:SegResNetEncoder")]
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "extend"
CPU = torch.device("cpu")
CASES = 2


def plan_of(dimensions: Any) -> Plan:
    """A plan whose patch, of unequal axes, has an odd number of cells on the coarsest grid of the default."""
    return Plan(
        version=1,
        dimensions=dimensions,
        axes="yx" if dimensions == 2 else "zyx",
        channels=(ChannelPlan("a", "zscore"),),
        classes={"background": 0, "left": 1, "right": 2},
        ignore_id=None,
        labels_above_zero=False,
        file_ending=".nii.gz",
        spacing=(1.0,) * dimensions,
        patch=(24, 40) if dimensions == 2 else (8, 24, 40),
        tiled=True,
        strides=((2,) * dimensions,) * 3,
        latent_levels=2,
        latent_channels=4,
        widths=(8, 16, 16),
        batch=2,
        mirror_axes=(),
        training_memory_gb=1.0,
    )


def settings_of(plan: Plan, part: str, name: str) -> RunSettings:
    """The settings of a model with this network."""
    of_presets = [preset(plan) for preset in PRESETS.values()]
    for settings in of_presets:
        if getattr(settings.model, part).architecture == name:
            return settings
    settings = of_presets[0]
    chosen = replace(getattr(settings.model, part), architecture=name)
    return replace(settings, model=replace(settings.model, **{part: chosen}))


class Network(nn.Module):
    """One network of a model as a function of tensors, called as the model calls it."""

    def __init__(self, model: LDSeg, part: str) -> None:
        super().__init__()
        self.part, self.schedule = part, model.schedule
        self.network: Any = getattr(model, part)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.part == "image_encoder":
            conditioning = self.network(*inputs)
            return (conditioning.embedding, *conditioning.features)
        if self.part == "denoiser":
            z, embedding, t = inputs
            level, time = self.schedule(t), self.network.embed(t)
            prediction = self.network(self.network.fold(z), self.network.prepare(embedding), level, time)
            return (self.network.unfold(prediction),)
        return (self.network(inputs[0], inputs[1:]) if self.part == "decoder" else self.network(*inputs),)


class Sample:
    """A network in its model, with random weights also where they begin at zero, and its inputs."""

    def __init__(self, part: str, name: str, dimensions: int) -> None:
        self.part, self.plan = part, plan_of(dimensions)
        self.settings = settings_of(self.plan, part, name)
        torch.manual_seed(0)
        self.model = LDSeg.from_settings(self.settings.model).eval().requires_grad_(False)
        for parameter in self.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        self.network = Network(self.model, part)

    def inputs(self, cases: int = CASES) -> tuple[Tensor, ...]:
        """Return what the network is called with."""
        generator = torch.Generator().manual_seed(cases)
        x = torch.randn(cases, 1, *self.plan.patch, generator=generator)
        z = torch.randn(cases, *self.model.start_shape(self.plan.patch), generator=generator)
        conditioning = self.model.image_encoder(x)
        if self.part == "label_encoder":
            return (torch.randint(-1, 3, (cases, *self.plan.patch), generator=generator),)
        if self.part == "denoiser":
            return (z, conditioning.embedding, torch.rand(cases, generator=generator))
        return (x,) if self.part == "image_encoder" else (z, *conditioning.features)


@pytest.fixture(
    params=[(*network, d) for network in NETWORKS for d in (2, 3)],
    ids=lambda param: "{}-{}-{}d".format(*param),
    scope="module",
)
def sample(request: pytest.FixtureRequest) -> Iterator[Sample]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setattr(registry, "_admitted", {})
        admit(request.param[1], True, "the test")
        yield Sample(*request.param)


def test_its_outputs_lie_on_the_grids_of_the_model(sample: Sample) -> None:
    plan, model = sample.plan, sample.settings.model
    outputs = sample.network(*sample.inputs())
    latent = sample.model.start_shape(plan.patch)
    if sample.part == "image_encoder":
        embedding, *features = outputs
        assert embedding.shape == (CASES, model.image_encoder.embedding_channels, *latent[1:])
        channels = sample.network.network.feature_channels
        assert tuple(feature.shape[1] for feature in features) == channels
        assert features[-1].shape[2:] == embedding.shape[2:]
    else:
        wanted = (model.classes, *plan.patch) if sample.part == "decoder" else latent
        assert outputs[0].shape == (CASES, *wanted)
        assert outputs[0].dtype == torch.float32
    assert all(torch.isfinite(one).all() for one in outputs)


def test_the_same_inputs_give_the_same_outputs_to_the_bit(sample: Sample) -> None:
    inputs = sample.inputs()
    first, second = sample.network(*inputs), sample.network(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_every_parameter_has_a_gradient(sample: Sample) -> None:
    parameters = dict(sample.network.network.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True).grad = None
    try:
        sum(one.float().square().sum() for one in sample.network(*sample.inputs())).backward()  # type: ignore[union-attr]
        assert [name for name, one in parameters.items() if one.grad is None] == []
    finally:
        for parameter in parameters.values():
            parameter.requires_grad_(False).grad = None


def test_bf16_autocast_gives_nearly_the_same(sample: Sample) -> None:
    inputs = sample.inputs()
    exact = sample.network(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = sample.network(*inputs)
    for a, b in zip(exact, rough, strict=True):
        assert torch.isfinite(b).all()
        assert (a - b).abs().mean() < 0.05 * a.abs().mean()


def test_its_graph_is_exported_for_any_batch(sample: Sample) -> None:
    inputs = sample.inputs()
    batch = torch.export.Dim("batch")
    shapes = (tuple({0: batch} for _ in inputs),)
    graph = torch.export.export(sample.network, inputs, dynamic_shapes=shapes).module()
    others = sample.inputs(CASES + 1)
    for found, wanted in zip(graph(*others), sample.network(*others), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_saved_model_with_it_segments_an_image_of_odd_size_as_before(
    sample: Sample, tmp_path: Path
) -> None:
    save_model(tmp_path, sample.model, sample.plan, sample.settings, card="")
    x = torch.randn(CASES, 1, *sample.plan.patch, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_model(tmp_path, CPU).segmenter.sample(x), sample.model.sample(x))
    shape = (25, 43) if sample.plan.dimensions == 2 else (9, 21, 27)
    image = volume_of_array(
        np.random.default_rng(0).normal(size=shape), sample.plan.axes, (1.0,) * len(shape)
    )
    prediction = Predictor.load(tmp_path, "cpu")(image)
    assert prediction.probabilities.array.shape == (3, *shape)
    assert np.isfinite(prediction.probabilities.array).all()
