"""A three-layer convolutional network for the CPU profiles (not in the paper)."""

from __future__ import annotations

from torch import nn

from unlearning.models.base import Classifier


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    ]


def build(
    arch: str,
    classes: int,
    channels: int,
    pretrained: bool,
    head_dropout: float,
    width: int = 16,
) -> Classifier:
    """Channels `width`, 2 x `width`, 4 x `width`, each pooled by two; for images of 24 to 39 px.

    The embedding is the last feature map, pooled to 3 x 3 and flattened: D = 36 x `width`.
    """
    if pretrained:
        raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
    backbone = nn.Sequential(
        *_block(channels, width),
        *_block(width, 2 * width),
        *_block(2 * width, 4 * width),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
    )
    return Classifier(backbone, nn.Linear(36 * width, classes), head_dropout, per_channel=9)
