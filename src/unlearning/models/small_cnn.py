"""A three-layer convolutional network for the CPU profiles (not in the paper)."""

from __future__ import annotations

import torch
from torch import nn

from unlearning.models.base import Classifier, Weights

SECOND = "7"  # the last of the second block's four layers


class _PoolToThree(nn.AdaptiveAvgPool2d):
    """To 3 x 3 by averaging; a map of that size is its own average and costs nothing."""

    def __init__(self) -> None:
        super().__init__(3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if features.shape[-2:] == (3, 3) else super().forward(features)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.MaxPool2d(2),  # before the ReLU: the same values, and a quarter of them to rectify
        nn.ReLU(inplace=True),
    ]


def build(
    arch: str,
    classes: int,
    channels: int,
    pretrained: Weights,
    head_dropout: float,
    width: int = 16,
) -> Classifier:
    """Channels `width`, 2 x `width`, 4 x `width`, each pooled by two; for images of 24 to 39 px.

    The embedding is the last feature map, pooled to 3 x 3 and flattened: D = 36 x `width`.
    """
    if pretrained is not None:
        raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
    backbone = nn.Sequential(
        *_block(channels, width),
        *_block(width, 2 * width),
        *_block(2 * width, 4 * width),
        _PoolToThree(),
        nn.Flatten(),
    )
    head = nn.Linear(36 * width, classes)
    return Classifier(backbone, head, head_dropout, per_channel=9, middle=SECOND)
