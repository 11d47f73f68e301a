"""The architectures: sizes, stems, embedding and head, the middle block, pretrained weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from unlearning.methods.base import frozen_copy, untrained_copy
from unlearning.models import ERM, FAMILIES, PRETRAINED, build
from unlearning.runtime.vision import torchvision

QUICK = [arch for arch in FAMILIES if arch != "vit_b16"]  # which the fixture `b16` builds once
SMALL = [arch for arch in FAMILIES if arch.endswith("_small")]
RESNETS = [arch for arch in FAMILIES if arch.startswith("resnet")]
CONVOLUTION = 9 * 96 * (3 + 96 + 2 * 96) + 9 * 192 * 192 * 4 + 192 * 192  # weights of AllCNN's
HEAD = ["head.weight", "head.bias"]
ALLCNN = CONVOLUTION + 2 * (2 * 96 + 6 * 192) + 192 * 10 + 10


def parameters(model):
    return sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize("arch", QUICK)
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_are_the_head_of_the_embedding(arch, channels):
    model = build(arch, classes=7, channels=channels, head_dropout=0.5).eval()
    images = torch.randn(2, channels, 32, 32)
    embedding = model.embed(images)
    assert embedding.shape == (2, model.head.in_features)
    assert torch.equal(model(images), model.head(embedding))
    assert model(images).shape == (2, 7)


def test_head_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    model = build("strided_cnn", 10, 1, head_dropout=0.5)
    embedding = torch.ones(1, model.head.in_features)
    assert (model.train().dropout(embedding) == 0).any()
    assert torch.equal(model.eval().dropout(embedding), embedding)


@pytest.mark.parametrize("arch", ["strided_cnn", "strided_cnn_erm"])
def test_bfloat16_is_the_precision_of_the_backbones_products_alone(arch):
    """8 bits of mantissa: a product is off by up to 0.4 %."""
    found = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = build(arch, 10, 1, precision=precision, width=2)
        images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        embedding = model.embed(images)
        model(images).sum().backward()
        assert {w.grad.dtype for w in model.backbone.parameters()} == {torch.float32}
        assert model.backbone[1].running_var.dtype == embedding.dtype == torch.float32
        found[precision] = embedding.detach()
    rough, exact = found["bfloat16"], found["float32"]
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


def test_the_imagenet_stem_quarters_the_image_and_the_small_one_keeps_it():
    images = torch.randn(1, 3, 32, 32)
    for arch, kernel, size in (("resnet18", 7, 8), ("resnet18_3x3", 3, 32)):
        network = build(arch, 10, 3).backbone
        assert network.conv1.kernel_size == (kernel, kernel)
        stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        assert stem.shape[-1] == size


@pytest.mark.parametrize(
    ("arch", "published", "dimensions"),
    [
        ("resnet18", 11_689_512, 512),
        ("resnet34", 21_797_672, 512),
        ("resnet50", 25_557_032, 2048),
    ],
)
def test_the_networks_have_the_parameters_that_torchvision_publishes(arch, published, dimensions):
    model = build(arch, classes=1000, channels=3)
    assert (parameters(model), model.head.in_features) == (published, dimensions)
    stem = build(f"{arch}_3x3", classes=1000, channels=3)
    assert parameters(model) - parameters(stem) == 64 * 3 * (7 * 7 - 3 * 3)


@pytest.mark.parametrize(
    ("arch", "expected", "dimensions"),
    [
        ("resnet18_small", None, 64),
        ("resnet34_small", None, 64),
        ("resnet50_small", None, 256),
        ("allcnn", ALLCNN, 192),
        ("allcnn_small", None, 16),
        ("vit_small", None, 64),
    ],
)
def test_embeddings_are_as_wide_as_documented(arch, expected, dimensions):
    model = build(arch, classes=10, channels=3)
    assert model.head.in_features == dimensions
    assert expected in (None, parameters(model))


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_a_small_resnet_has_an_eighth_of_the_channels_in_every_layer(arch):
    full, small = (build(name, 10, 3).backbone.state_dict() for name in (arch, f"{arch}_small"))
    assert list(full) == list(small)
    for name, weights in full.items():
        eighth = [size // 8 if size >= 64 else size for size in weights.shape]
        assert list(small[name].shape) == eighth, name


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("arch", ["allcnn_small", "vit_small"])
def test_one_network_takes_images_of_any_size(arch, size):
    model = build(arch, 10, 3).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_allcnn_halves_the_image_twice_and_averages_what_is_left():
    model = build("allcnn_small", 10, 1).eval()
    images = torch.randn(2, 1, 32, 32)
    sizes = [model.backbone[:layer](images).shape[-1] for layer in range(1, 9)]
    assert sizes == [32, 32, 16, 16, 16, 8, 8, 8]
    torch.testing.assert_close(model.embed(images), model.backbone[:8](images).mean((2, 3)))


@pytest.mark.parametrize("arch", SMALL)
def test_a_step_changes_every_parameter_and_an_untrained_copy_shares_none(arch):
    torch.manual_seed(0)
    model = build(arch, 10, 1)
    images, labels = torch.randn(32, 1, 28, 28), torch.arange(32) % 10
    before = frozen_copy(model).state_dict()
    cross_entropy(model(images), labels).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    fresh = dict(untrained_copy(model, torch.Generator().manual_seed(1)).named_parameters())
    for name, weights in model.named_parameters():
        assert not torch.equal(weights, before[name]), name
        assert not torch.equal(weights, fresh[name]), name


def by_hand(arch, network, images):
    """The middle block's features, from a slice of the network and no hook."""
    if arch == "strided_cnn":
        return network[:6](images).mean((2, 3))
    if arch.startswith("allcnn"):
        return network[:6](images).mean((2, 3))
    if arch.startswith("resnet"):
        stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        return network.layer2(network.layer1(stem)).mean((2, 3))
    vit = network.vit
    patches = vit._process_input(images.expand(-1, 3, -1, -1))
    tokens = torch.cat([vit.class_token.expand(len(images), -1, -1), patches], 1)
    half = len(vit.encoder.layers) // 2
    return vit.encoder.layers[:half](tokens + vit.encoder.pos_embedding)[:, 0]


@pytest.mark.parametrize(
    ("arch", "features"),
    [
        ("strided_cnn", 32),
        (f"strided_cnn{ERM}", 32),
        ("resnet18", 128),
        ("resnet18_3x3", 128),
        ("resnet34_small", 16),
        ("resnet50_small", 64),
        ("allcnn", 192),
        ("allcnn_small", 16),
        ("vit_small", 64),
        (f"vit_small{ERM}", 64),
    ],
)
def test_the_middle_block_gives_what_a_slice_of_the_network_gives(arch, features):
    torch.manual_seed(0)
    model = build(arch, 10, 1).eval()
    images = torch.randn(3, 1, 28, 28)
    expected = by_hand(arch.removesuffix(ERM), model.backbone, images)
    assert expected.shape == (3, features)
    assert torch.equal(model.layers(images)[1], expected)
    torch.testing.assert_close(frozen_copy(model).layers(images)[1], expected)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("size", [12, 28, 32, 39])
def test_the_strided_network_embeds_images_of_any_size_as_nine_places_a_channel(size):
    model = build("strided_cnn", 10, 3, width=4).eval()
    images = torch.randn(2, 3, size, size)
    embedding = model.embed(images)
    assert embedding.shape == (2, 144) and model.per_channel == 9
    last = model.backbone[:9](images)
    pooled = torch.nn.functional.adaptive_avg_pool2d(last, 3)
    assert torch.equal(embedding.reshape(2, 16, 3, 3), pooled)
    assert last.shape[-1] == 3 or size not in (28, 32)


def test_a_copys_middle_block_is_its_own():
    model = build("strided_cnn", 10, 1).eval()
    images, twin = torch.randn(2, 1, 28, 28), frozen_copy(model)
    before = model.layers(images)[1]
    with torch.no_grad():
        twin.backbone[3].weight.zero_()
    assert torch.equal(model.layers(images)[1], before)
    assert not torch.equal(twin.layers(images)[1], before)


@pytest.mark.parametrize("arch", ["strided_cnn", "vit_small"])
def test_the_middle_block_has_the_models_precision(arch):
    model, images = build(arch, 10, 1).eval(), torch.randn(4, 1, 28, 28)
    exact = model.layers(images)[1]
    model.precision = "bfloat16"
    rough = model.layers(images)[1]
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)


def test_a_model_without_a_middle_block_says_so(make_model):
    with pytest.raises(ValueError, match="names no middle block"):
        make_model().layers(torch.randn(2, 1, 8, 8))


def test_files_of_weights_keep_their_names():
    layers = {
        0: ["weight"],
        1: ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
    }
    convolutions = [
        f"backbone.{3 * i + k}.{n}" for i in range(3) for k in layers for n in layers[k]
    ]
    assert list(build("strided_cnn", 10, 1).state_dict()) == [*convolutions, *HEAD]
    usual = [k for k in torchvision().models.resnet18().state_dict() if k.split(".")[0] != "fc"]
    for arch in ("resnet18", "resnet18_3x3"):
        assert list(build(arch, 10, 1).state_dict()) == [f"backbone.{k}" for k in usual] + HEAD


@pytest.fixture(scope="module")
def imagenet():
    """Random weights in the place of torchvision's, by name."""
    torch.manual_seed(1)
    names = ("resnet18", "resnet34", "resnet50")
    return {name: torchvision().models.get_model(name).state_dict() for name in names}


@pytest.mark.parametrize("arch", [a for a in RESNETS if a in PRETRAINED])
def test_pretrained_takes_every_weight_but_stem_and_head(arch, imagenet):
    given = imagenet[PRETRAINED[arch]]
    backbone = build(arch, 10, 3, pretrained=given).backbone.state_dict()
    own = {"conv1.weight"} if arch.endswith("_3x3") else set()
    assert backbone.keys() == given.keys() - {"fc.weight", "fc.bias"}
    # the stem keeps its name; with another kernel it cannot be compared element by element
    taken = {k for k in backbone if backbone[k].shape == given[k].shape}
    assert {k for k in taken if not torch.equal(backbone[k], given[k])} == set()
    assert backbone.keys() - taken == own
    fresh = build(arch, 10, 3).backbone.state_dict()
    assert not torch.equal(fresh["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"])


def test_a_grey_image_keeps_its_response_to_the_pretrained_stem(imagenet):
    colour = build("resnet18", 10, 3, pretrained=imagenet["resnet18"]).backbone.conv1
    grey = build("resnet18", 10, 1, pretrained=imagenet["resnet18"]).backbone.conv1
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(grey(image), colour(image.expand(1, 3, 32, 32)))


@pytest.fixture(scope="module")
def b16():
    """ViT-B/16 with random weights in the place of the published ones, and those weights."""
    with torch.device("meta"):
        shapes = {k: w.shape for k, w in torchvision().models.vit_b_16().state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    given = {k: torch.rand(s, generator=generator) / 100 for k, s in shapes.items()}
    return build("vit_b16", 1000, 1, pretrained=given).eval(), given


def test_vit_b16_has_the_parameters_that_torchvision_publishes(b16):
    assert (parameters(b16[0]), b16[0].head.in_features) == (86_567_656, 768)


def test_vit_b16_takes_every_pretrained_weight_but_the_head(b16):
    model, given = b16
    found = model.backbone.vit.state_dict()
    assert found.keys() == given.keys() - {"heads.head.weight", "heads.head.bias"}
    assert all(torch.equal(weights, given[name]) for name, weights in found.items())


@torch.inference_mode()
def test_vit_b16_sees_grey_as_colour_and_every_image_at_224_pixels(b16):
    model, grey = b16[0], torch.randn(1, 1, 32, 32)
    large = interpolate(grey, (224, 224), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    expected = model.backbone.vit(large)
    assert expected.shape == (1, 768)
    for images in (grey, grey.expand(-1, 3, -1, -1), large):
        torch.testing.assert_close(model.embed(images), expected)
    assert torch.equal(model(grey), model.head(model.embed(grey)))


@torch.inference_mode()
def test_vit_b16s_middle_block_is_its_sixth_layer(b16):
    model, images = b16[0], torch.randn(1, 1, 224, 224)
    expected = by_hand("vit_b16", model.backbone, images)
    torch.testing.assert_close(model.layers(images)[1], expected)
    deeper = model.backbone.vit.encoder.layers[6](expected[:, None])[:, 0]
    assert (deeper - expected).abs().max() > 1e-3  # one layer more would be seen


def test_a_large_image_is_smoothed_before_the_small_transformer_sees_it():
    """A quarter of the size: the two pixels in the middle of each four are black, all are grey."""
    model, seen = build("vit_small", 10, 1).eval(), []
    model.backbone.vit.conv_proj.register_forward_hook(lambda *call: seen.append(call[1][0]))
    model(torch.tensor([1.0, 0, 0, 1]).repeat(28).expand(1, 1, 112, 112))
    inside = seen[0][..., 2:-2, 2:-2]
    assert inside.shape[1] == 3 and (inside - 0.5).abs().max() < 1e-6


def test_wrong_wishes_are_refused():
    with pytest.raises(ValueError, match=r"unknown architecture 'vgg'.*known: strided_cnn"):
        build("vgg", 10, 3)
    for arch in FAMILIES.keys() - set(PRETRAINED):
        with pytest.raises(ValueError, match=f"{arch} has no pretrained weights"):
            build(arch, 10, 3, pretrained={})
    with pytest.raises(ValueError, match="vit_small takes images of 1 or 3 channels, not of 4"):
        build("vit_small", 10, 4)
