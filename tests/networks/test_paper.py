"""The published networks: parameter counts, and each layer's conventions against their definition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ldseg.networks import paper_blocks as blocks
from ldseg.networks.denoisers.paper import PaperDenoiser
from ldseg.networks.image_encoders.paper import PaperImageEncoder
from ldseg.networks.label_decoders.paper import PaperLabelDecoder
from ldseg.networks.label_encoders.paper import PaperLabelEncoder
from ldseg.settings import DenoiserSettings, ImageEncoderSettings, StagesSettings

DIMENSIONS = pytest.mark.parametrize("d", [2, 3])


def strides(d: int, halvings: int, first: bool = True) -> tuple[tuple[int, ...], ...]:
    return (((1,) * d,) if first else ()) + ((2,) * d,) * halvings


def label_stages(d: int) -> StagesSettings:
    return StagesSettings((16, 32, 64, 64, 32), strides(d, 4), dropout=0.2)


def label_encoder(d: int, in_channels: int, grid: tuple[int, ...]) -> PaperLabelEncoder:
    return PaperLabelEncoder(d, in_channels, 1, label_stages(d), grid)


def label_decoder(d: int, classes: int = 2) -> PaperLabelDecoder:
    stages = StagesSettings((32, 64, 64, 32), strides(d, 4, first=False), dropout=0.2)
    return PaperLabelDecoder(d, classes, 1, stages)


def image_encoder(d: int, in_channels: int) -> PaperImageEncoder:
    stages = replace(label_stages(d), attention=(3, 4) if d == 2 else ())
    return PaperImageEncoder(d, in_channels, ImageEncoderSettings(stages, embedding_channels=1))


def denoiser(d: int) -> PaperDenoiser:
    stages = StagesSettings((16, 32, 64), strides(d, 2), blocks=2, attention=(1, 2))
    return PaperDenoiser(d, 1, 1, DenoiserSettings(stages))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "module, published",
    [
        (label_encoder(2, 1, (32, 32)), 185_617),
        (label_decoder(2), 270_566),
        (image_encoder(2, 3), 294_061),
        (image_encoder(3, 1), 138_851),
        (denoiser(2), 1_013_873),
        (denoiser(3), 2_209_937),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_parameters_are_as_many_as_published(module: nn.Module, published: int) -> None:
    assert parameters(module) == published


def test_a_further_label_channel_of_the_one_hot_costs_two_kernels() -> None:
    more = parameters(label_encoder(2, 2, (32, 32))) - parameters(label_encoder(2, 1, (32, 32)))
    assert more == 9 * 16 + 16


@DIMENSIONS
def test_a_one_hot_with_the_ids_as_weights_is_the_raw_id(d: int) -> None:
    torch.manual_seed(0)
    raw, ours = label_encoder(d, 1, (2,) * d).eval(), label_encoder(d, 3, (2,) * d).eval()
    weights = raw.state_dict()
    for name in ("blocks.0.conv1.weight", "blocks.0.shortcut.weight"):
        weights[name] = torch.cat([id_ * weights[name] for id_ in range(3)], 1)
    ours.load_state_dict(weights)
    y = torch.randint(0, 3, (2, *(32,) * d))
    torch.testing.assert_close(ours(y), raw.encode(y[:, None].float()), rtol=1e-4, atol=1e-4)


@DIMENSIONS
def test_a_strided_convolution_begins_at_the_first_voxel(d: int) -> None:
    """TensorFlow's "same" padding of an even axis: nothing before, one voxel behind."""
    layer = blocks.convolution(d, 1, 1, 3, (2,) * d)
    layer.load_state_dict({name: torch.ones_like(value) for name, value in layer.state_dict().items()})
    x = torch.zeros(1, 1, *(8,) * d)
    x[(0, 0, *(0,) * d)] = 1.0
    found = (layer(x) - 1).squeeze()
    assert found.sum() == 1
    assert found[(0,) * d] == 1  # the first voxel, seen by no other place and by this one first
    x = torch.zeros(1, 1, *(8,) * d)
    x[(0, 0, *(2,) * d)] = 1.0
    assert (layer(x) - 1).sum() == 2**d  # the last of the first place and the first of the second, each axis


def test_an_even_kernel_pads_behind() -> None:
    layer = blocks.convolution(3, 1, 1, 2)
    nn.init.ones_(next(layer.parameters()))
    x = torch.zeros(1, 1, 4, 4, 4)
    x[0, 0, 0, 0, 0] = 1.0
    assert layer(x).sum() == 1
    assert layer(torch.ones(1, 1, 4, 4, 4))[0, 0, 3, 3, 3] == 1


@pytest.mark.parametrize("stride", [(2, 2), (1, 2)])
def test_a_transposed_convolution_is_the_transpose_of_the_strided_one(stride: tuple[int, int]) -> None:
    torch.manual_seed(0)
    forward = blocks.convolution(2, 3, 4, 3, stride)
    back = blocks.TransposedConvolution(4, 3, stride)
    kernel, bias = (value for value in forward.state_dict().values())
    back.load_state_dict({"conv.weight": kernel, "conv.bias": torch.zeros(3)})
    nn.init.zeros_(list(forward.parameters())[1])
    del bias
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    y = forward(x)
    direction = torch.randn_like(y)
    (wanted,) = torch.autograd.grad(y, x, direction)
    torch.testing.assert_close(back(direction), wanted, rtol=1e-5, atol=1e-5)


def test_label_blocks_are_post_activation() -> None:
    block = blocks.PostActivationBlock(2, 3, 4, 0.2).eval()
    h = torch.randn(2, 3, 8, 8)
    branch = block.norm2(block.conv2(functional.silu(block.norm1(block.conv1(h)))))
    wanted = functional.silu(branch + block.shortcut_norm(block.shortcut(h)))
    torch.testing.assert_close(block(h), wanted)


def test_attention_has_heads_of_neighbouring_channels_around_the_raw_input() -> None:
    torch.manual_seed(0)
    layer = blocks.SelfAttention(16, heads=8, groups=8)
    nn.init.normal_(layer.proj.weight)
    h = torch.randn(1, 16, 3, 3)
    tokens = layer.norm(h).flatten(2)[0].T
    heads: list[Tensor] = []
    for head in range(8):
        of_head = slice(2 * head, 2 * head + 2)
        query, key, value = (part(tokens)[:, of_head] for part in (layer.query, layer.key, layer.value))
        heads.append(((query @ key.T) / 2**0.5).softmax(1) @ value)
    wanted = h + layer.proj(torch.cat(heads, 1)).T.reshape(h.shape)
    torch.testing.assert_close(layer(h), wanted, rtol=1e-4, atol=1e-5)


def test_the_denoisers_attention_is_around_the_normalized_input() -> None:
    layer = blocks.NormalizedSelfAttention(8, heads=1, groups=4)
    h = 3 + torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(layer(h), layer.norm(h))  # its output is zero at first


@pytest.mark.parametrize("d, attended", [(2, [32 * 32, 16 * 16, 16 * 16]), (3, [])])
def test_the_image_encoder_attends_after_two_stages_and_on_the_embedding(d: int, attended: list[int]) -> None:
    model = image_encoder(d, 1).eval()
    seen: list[int] = []
    heads: list[int] = []
    for layer in model.modules():
        if isinstance(layer, blocks.SelfAttention):
            heads.append(layer.heads)
            layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][0, 0].numel()))
    model(torch.randn(1, 1, *((256, 256) if d == 2 else (32, 32, 32))))
    assert (seen, heads) == (attended, [8, 8, 1][: len(attended)])


@DIMENSIONS
def test_an_image_block_works_before_its_stride(d: int) -> None:
    stage = image_encoder(d, 1).stages[0]
    grids: dict[str, tuple[int, ...]] = {}
    for name in ("conv2", "norm"):
        stage.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: grids.update({name: tuple(out.shape[2:])})
        )
    stage(torch.randn(1, 16, *(16,) * d))
    assert grids == {"conv2": (16,) * d, "norm": (8,) * d}


def test_the_image_blocks_of_3d_have_groups() -> None:
    groups = [layer.groups for layer in image_encoder(3, 1).stages.modules() if isinstance(layer, nn.Conv3d)]
    assert groups == [4, 4, 1] * 4


@DIMENSIONS
def test_all_norms_have_the_published_momentum_epsilon_and_groups(d: int) -> None:
    modules = (label_encoder(d, 2, (2,) * d), label_decoder(d), image_encoder(d, 1), denoiser(d))
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
                assert (layer.momentum, layer.eps) == (0.01, 1e-3)
            if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)):
                assert layer.eps == 1e-3
    assert {layer.num_groups for layer in denoiser(d).modules() if isinstance(layer, nn.GroupNorm)} == {4}
    outer = [stage.get_submodule("norm") for stage in image_encoder(d, 1).stages]
    assert [norm.num_groups for norm in outer] == [4] * 4


@DIMENSIONS
def test_the_clean_latent_has_a_scale_and_a_shift_for_each_position(d: int) -> None:
    torch.manual_seed(0)
    model = label_encoder(d, 2, (2,) * d).eval()
    y = torch.randint(0, 2, (2, *(32,) * d))
    plain = model(y)
    torch.testing.assert_close(plain.flatten(1).mean(1), torch.zeros(2), rtol=0, atol=1e-4)
    scale, shift = torch.randn(1, *(2,) * d), torch.randn(1, *(2,) * d)
    model.norm.load_state_dict({"weight": scale.flatten(), "bias": shift.flatten()})
    torch.testing.assert_close(model(y), plain * scale + shift)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(RuntimeError, match="normalized_shape"):
        label_encoder(2, 2, (2, 2))(torch.zeros(1, 64, 64))


@DIMENSIONS
def test_the_logits_are_batch_normalized(d: int) -> None:
    torch.manual_seed(0)
    logits = label_decoder(d).train()(torch.randn(4, 1, *(2,) * d))
    axes = (0, *range(2, 2 + d))
    torch.testing.assert_close(logits.mean(axes), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits.var(axes, correction=0), torch.ones(2), rtol=0.1, atol=0.1)


@DIMENSIONS
def test_the_time_is_embedded_as_published(d: int) -> None:
    found = blocks.time_embedding(torch.tensor([0.0, 0.5]), 64)
    frequencies = torch.tensor([10000 ** (-k / 31) for k in range(32)])
    torch.testing.assert_close(found[1, :32], (500 * frequencies).sin(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[1, 32:], (500 * frequencies).cos(), rtol=1e-3, atol=1e-3)
    assert denoiser(d).embed(torch.tensor([0.1, 0.2])).shape == (2, 64)


@DIMENSIONS
def test_the_denoiser_depends_on_the_time_the_latent_and_the_image(d: int) -> None:
    torch.manual_seed(0)
    model = denoiser(d).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    z, c = torch.randn(2, 1, *(8,) * d), torch.randn(2, 1, *(8,) * d)
    early, late = (model.embed(torch.tensor([t])) for t in (0.1, 0.9))
    a = torch.ones(1)
    found = model(z, c, a, early)
    assert found.shape == z.shape
    for other in (model(z, c, a, late), model(-z, c, a, early), model(z, -c, a, early)):
        assert (found - other).abs().max() > 1e-3
