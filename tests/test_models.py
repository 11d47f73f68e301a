"""The architectures: the paper's two ResNet-18 stems, the small network, embedding and head."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlearning.models import FAMILIES, build
from unlearning.vision import torchvision


@pytest.mark.parametrize("arch", FAMILIES)
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
    model = build("small_cnn", 10, 1, head_dropout=0.5)
    embedding = torch.ones(1, model.head.in_features)
    assert (model.train().dropout(embedding) == 0).any()
    assert torch.equal(model.eval().dropout(embedding), embedding)


@pytest.mark.parametrize("arch", ["small_cnn", "small_cnn_erm"])
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


def test_the_small_network_computes_what_its_layers_do_in_the_usual_order():
    torch.manual_seed(0)
    model = build("small_cnn", 10, 1).backbone
    images = torch.randn(8, 1, 32, 32, requires_grad=True)
    with torch.no_grad():
        model[1].weight.normal_()
    usual = nn.Sequential(*(model[i + k] for i in (0, 4, 8) for k in (0, 1, 3, 2)))
    usual.extend([nn.AdaptiveAvgPool2d(3), nn.Flatten()])
    found = []
    for network in (model, usual):
        embedding = network(images)
        gradients = torch.autograd.grad(embedding.square().sum(), [images, *network.parameters()])
        found.append([embedding, *gradients])
    assert all(map(torch.equal, *found))


def test_the_imagenet_stem_quarters_the_image_and_the_small_one_keeps_it():
    images = torch.randn(1, 3, 32, 32)
    for arch, kernel, size in (("resnet18", 7, 8), ("resnet18_3x3", 3, 32)):
        network = build(arch, 10, 3).backbone
        assert network.conv1.kernel_size == (kernel, kernel)
        stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        assert stem.shape[-1] == size


@pytest.fixture
def imagenet(monkeypatch):
    """Random weights in the place of torchvision's download; returns them."""
    torch.manual_seed(1)
    weights = torchvision().models.resnet18().state_dict()
    enum = torchvision().models.ResNet18_Weights
    monkeypatch.setattr(enum, "get_state_dict", lambda self, **_: weights)
    return weights


@pytest.mark.parametrize("arch", ["resnet18", "resnet18_3x3"])
def test_pretrained_takes_every_weight_but_stem_and_head(arch, imagenet):
    backbone = build(arch, 10, 3, pretrained=True).backbone.state_dict()
    own = {"conv1.weight"} if arch == "resnet18_3x3" else set()
    assert backbone.keys() == imagenet.keys() - {"fc.weight", "fc.bias"}
    # the stem keeps its name; with another kernel it cannot be compared element by element
    taken = {k for k in backbone if backbone[k].shape == imagenet[k].shape}
    assert {k for k in taken if not torch.equal(backbone[k], imagenet[k])} == set()
    assert backbone.keys() - taken == own
    fresh = build(arch, 10, 3, pretrained=False).backbone.state_dict()
    assert not torch.equal(fresh["layer1.0.conv1.weight"], imagenet["layer1.0.conv1.weight"])


def test_a_grey_image_keeps_its_response_to_the_pretrained_stem(imagenet):
    colour = build("resnet18", 10, 3, pretrained=True).backbone.conv1
    grey = build("resnet18", 10, 1, pretrained=True).backbone.conv1
    image = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(grey(image), colour(image.expand(1, 3, 32, 32)))


def test_wrong_wishes_are_refused():
    with pytest.raises(ValueError, match=r"unknown architecture 'vgg'.*known: small_cnn"):
        build("vgg", 10, 3)
    with pytest.raises(ValueError, match="no pretrained weights"):
        build("small_cnn", 10, 3, pretrained=True)
