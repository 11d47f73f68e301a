"""A network of the user's own, made by a function that the architecture names."""

from __future__ import annotations

import importlib
import os
import sys

from torch import nn

from unlearning.models.base import Classifier, Weights
from unlearning.models.split import split


def build(
    arch: str, classes: int, channels: int, pretrained: Weights, head_dropout: float
) -> Classifier:
    """The network that `module:function@head` names, called with num_classes=K.

    The module is looked for in the working directory first. Raises ValueError if it has no such
    function, if that makes no torch network, and as `split`.
    """
    if pretrained is not None:
        raise ValueError(f"{arch} has no pretrained weights; set pretrained: false")
    place, _, head = arch.partition("@")
    module, _, function = place.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    make = getattr(importlib.import_module(module), function, None)
    if not callable(make):
        raise ValueError(f"original.arch: {module} has no function {function}")
    network = make(num_classes=classes)
    if not isinstance(network, nn.Module):
        raise ValueError(f"original.arch: {place} gives a {type(network).__name__}, no network")
    return split(network, head, head_dropout)
