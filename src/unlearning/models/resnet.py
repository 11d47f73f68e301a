"""ResNet-18, -34 and -50 with torchvision's stem or a 3 x 3 stem, and narrow ones for CPUs."""

from __future__ import annotations

import torch
from torch import nn

from unlearning.models.base import Classifier, Float32, Weights
from unlearning.runtime.vision import torchvision

NARROWER = 8
BLOCKS = {  # the kind of block, and how many there are in each of the four layers
    "resnet18": ("BasicBlock", [2, 2, 2, 2]),
    "resnet34": ("BasicBlock", [3, 4, 6, 3]),
    "resnet50": ("Bottleneck", [3, 4, 6, 3]),
}


def build(
    arch: str, classes: int, channels: int, pretrained: Weights, head_dropout: float
) -> Classifier:
    """`resnet18`: 7 x 7 stem with stride 2 and max-pool, as the paper on CIFAR-10.
    `resnet18_3x3`: 3 x 3 stem with stride 1, no max-pool, as on CIFAR-100 and TinyImageNet.
    `resnet18_small`: the 7 x 7 stem, an eighth of the channels (not in the paper).
    `resnet34…` and `resnet50…` likewise.

    pretrained: the state dict of torchvision's network; the 3 x 3 stem has none and starts
    at random; for grey images the 7 x 7 stem's weights are summed over colours. The narrow
    networks have no such weights: ValueError.
    The embedding has D = 512, 512 and 2048 dimensions, of the narrow networks 64, 64 and 256.
    The middle block is `layer2`, as in the release's feature-space study.
    """
    plain, _, variant = arch.partition("_")
    if variant == "small":
        if pretrained is not None:
            raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
        backbone = _narrow(plain, channels)
    else:
        backbone = _full(plain, channels, pretrained, variant == "3x3")
    embedding = backbone.fc.in_features
    backbone.fc = nn.Identity()
    backbone.avgpool = Float32(backbone.avgpool)
    return Classifier(backbone, nn.Linear(embedding, classes), head_dropout, middle="layer2")


def _full(plain: str, channels: int, pretrained: Weights, small_stem: bool) -> nn.Module:
    """torchvision's network, its stem replaced where the images or the variant ask for it."""
    network = torchvision().models.get_model(plain)
    if pretrained is not None:
        network.load_state_dict(pretrained)
    if small_stem:
        network.conv1 = _drawn(nn.Conv2d(channels, 64, 3, padding=1, bias=False))
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = _recoloured(network.conv1, channels)
    return network


def _narrow(plain: str, channels: int) -> nn.Module:
    """torchvision's network with an eighth of the channels everywhere."""
    resnet = torchvision().models.resnet

    class Narrow(resnet.ResNet):
        def _make_layer(self, block, planes, *sizes, **options):
            if planes == 64:  # the first layer: what comes from the stem is narrow as well
                self.inplanes = planes // NARROWER
            return super()._make_layer(block, planes // NARROWER, *sizes, **options)

    kind, layers = BLOCKS[plain]
    network = Narrow(getattr(resnet, kind), layers)
    width = 64 // NARROWER
    network.conv1 = _drawn(nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False))
    network.bn1 = nn.BatchNorm2d(width)
    network.fc = nn.Linear(network.fc.in_features // NARROWER, 1)
    return network


def _drawn(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with weights as torchvision draws those of a ResNet."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _recoloured(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The stem for another number of input channels; a grey image keeps its response."""
    new = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        new.weight.copy_(conv.weight.sum(1, keepdim=True).expand_as(new.weight) / channels)
    return new
