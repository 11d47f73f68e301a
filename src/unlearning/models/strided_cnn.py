"""Three strided convolutions, for CPUs (not in the paper): the network of the embedded default.

Chosen on a measured frontier, `workflow/scripts/measure_frontier.py`; its table is in paper/LOG.md.
"""

from __future__ import annotations

import torch
from torch import nn

from unlearning.models.base import Classifier, Weights

SECOND = "5"  # the last of the second block's three layers


class _ToThree(nn.AdaptiveAvgPool2d):
    """To 3 x 3 by averaging; a map of that size is its own average and costs nothing."""

    def __init__(self) -> None:
        super().__init__(3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features if features.shape[-2:] == (3, 3) else super().forward(features)


def _block(inputs: int, outputs: int, kernel: int, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride=2, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def build(
    arch: str,
    classes: int,
    channels: int,
    pretrained: Weights = None,
    head_dropout: float = 0.0,
    width: int = 16,
) -> Classifier:
    """Channels `width`, 2 x `width`, 4 x `width`, each map half as wide; for images of 12 px up.

    The embedding is the last feature map, 3 x 3 (averaged to that where it is not: 28 and 32 px
    need none), flattened: D = 36 x `width`.
    """
    if pretrained is not None:
        raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
    backbone = nn.Sequential(
        *_block(channels, width, kernel=4, padding=1),
        *_block(width, 2 * width, kernel=3, padding=1),
        *_block(2 * width, 4 * width, kernel=3, padding=0),
        _ToThree(),
        nn.Flatten(),
    )
    head = nn.Linear(36 * width, classes)
    return Classifier(backbone, head, head_dropout, per_channel=9, middle=SECOND)
