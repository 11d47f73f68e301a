"""Architectures by name; a family's module is imported only when a model of it is built."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearning.models.base import Classifier, Weights

FAMILIES = {
    "strided_cnn": "strided_cnn",
    "resnet18": "resnet",
    "resnet18_3x3": "resnet",
    "resnet18_small": "resnet",
    "resnet34": "resnet",
    "resnet34_3x3": "resnet",
    "resnet34_small": "resnet",
    "resnet50": "resnet",
    "resnet50_3x3": "resnet",
    "resnet50_small": "resnet",
    "allcnn": "allcnn",
    "allcnn_small": "allcnn",
    "vit_b16": "vit",
    "vit_small": "vit",
}
PRETRAINED = {
    "resnet18": "resnet18",
    "resnet18_3x3": "resnet18",
    "resnet34": "resnet34",
    "resnet34_3x3": "resnet34",
    "resnet50": "resnet50",
    "resnet50_3x3": "resnet50",
    "vit_b16": "vit_b_16",
}
"""The weights that an architecture can start from: torchvision's name, a row of weights.csv."""
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*@\w[\w.]*")
"""An architecture of the user's own: `module:function@head` (see `factory`)."""
ERM = "_erm"
"""Ending of an architecture with an entanglement-reduced mask (see `erm`)."""


def modules(arch: str) -> list[str]:
    """The modules of this package that build `arch`; ValueError for an unknown one."""
    plain = arch.removesuffix(ERM)
    if plain not in FAMILIES and FACTORY.fullmatch(plain):
        return ["factory"] + (["erm"] if arch.endswith(ERM) else [])
    if plain not in FAMILIES:
        raise ValueError(f"unknown architecture {arch!r}; known: {', '.join(FAMILIES)}")
    return [FAMILIES[plain]] + (["erm"] if arch.endswith(ERM) else [])


def build(
    arch: str,
    classes: int,
    channels: int,
    pretrained: Weights = None,
    head_dropout: float = 0.0,
    precision: str = "float32",
    **options: int,
) -> Classifier:
    """A new model with `classes` logits for images of `channels` channels.

    Weights come from torch's global generator: seed it first. pretrained: the state dict of
    torchvision's network `PRETRAINED[arch]`, whose weights are taken wherever they fit; a family
    that has none raises ValueError. precision: `float32` or
    `bfloat16`, see `Classifier`. `options` go to the family, e.g. `width`.
    """
    found = [importlib.import_module(f"unlearning.models.{name}") for name in modules(arch)]
    plain = arch.removesuffix(ERM)
    model = found[0].build(plain, classes, channels, pretrained, head_dropout, **options)
    model = found[1].masked(model) if arch.endswith(ERM) else model
    model.precision = precision
    return model
