"""ResNet-18 with torchvision's stem or with the 3 x 3 stem for small images."""

from __future__ import annotations

import torch
from torch import nn

from unlearning.models.base import Classifier
from unlearning.vision import torchvision


def build(
    arch: str, classes: int, channels: int, pretrained: bool, head_dropout: float
) -> Classifier:
    """`resnet18`: 7 x 7 stem with stride 2 and max-pool, as the paper on CIFAR-10.
    `resnet18_3x3`: 3 x 3 stem with stride 1, no max-pool, as on CIFAR-100 and TinyImageNet.

    pretrained: torchvision's ImageNet-1k weights; the 3 x 3 stem has none and starts
    at random; for grey images the 7 x 7 stem's weights are summed over colours.
    The embedding has D = 512 dimensions.
    """
    models = torchvision().models
    weights = models.ResNet18_Weights.IMAGENET1K_V1 if pretrained else None
    backbone = models.resnet18(weights=weights)
    if arch == "resnet18_3x3":
        backbone.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
        backbone.maxpool = nn.Identity()
    elif channels != 3:
        backbone.conv1 = _recoloured(backbone.conv1, channels)
    embedding = backbone.fc.in_features
    backbone.fc = nn.Identity()
    return Classifier(backbone, nn.Linear(embedding, classes), head_dropout)


def _recoloured(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The stem for another number of input channels; a grey image keeps its response."""
    new = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    with torch.no_grad():
        new.weight.copy_(conv.weight.sum(1, keepdim=True).expand_as(new.weight) / channels)
    return new
