"""Unlearning methods by name: one module each, imported only when it is run.

A method's module offers
    TOUCHES   what data it reads: any of "retain", "forget" and "surrogate";
    Settings  its hyper-parameters, typed, without defaults (those are in configs/methods/);
    unlearn(model, problem, settings) -> model  which may change `model` in place;
    surrogates(settings, like) -> Images  if it touches "surrogate": images in the shape of `like`;
    BATCHES   the settings that may be a share, `1/K`, and of which part (see `in_images`); a
              method that touches one part alone needs none;
    images(settings, forget, retain)  if epochs times the sizes of what it touches is not what it
              costs: how many images train the model, for `estimate` (see `images`).
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

REFERENCES = ("original", "oracle")
"""What methods are compared with; part of every grid."""

ORIGINALS = ("original", "original_erm")
"""References that are the model before unlearning; `original_erm` is there for `erm_ktp`."""


SHARE = re.compile(r"1/[1-9]\d{0,5}")
"""How a share is written: one part in K, so K steps a pass."""


def load(name: str) -> ModuleType:
    """The module of the method `name`."""
    return importlib.import_module(f"unlearning.methods.{name}")


def batches_of(name: str) -> Mapping[str, str]:
    """The settings of a method that may be a share, and the part that each is a share of.

    A part is `forget`, `retain`, `both`, or `class`: the retained images of one class.
    """
    method = load(name)
    if hasattr(method, "BATCHES") or len(method.TOUCHES) != 1:
        return getattr(method, "BATCHES", {})
    return {"batch_size": next(iter(method.TOUCHES))}


def in_images(
    name: str, settings: Mapping[str, Any], forget: int, retain: int, classes: int = 1
) -> dict[str, Any]:
    """The settings with every share as a number of images; integers mean images already.

    `1/K` of a part of n images is n / K, rounded up and at least 2. A pass over the part then has
    exactly K steps wherever n > K²: as many on a part of the data as on all of it.
    forget, retain: images in D_f and D_r; classes: the retained ones.
    """
    sizes = {"forget": forget, "retain": retain, "both": forget + retain}
    sizes["class"] = retain / classes
    found = dict(settings)
    for key, part in batches_of(name).items():
        if isinstance(value := settings.get(key), str) and SHARE.fullmatch(value):
            found[key] = max(2, math.ceil(sizes[part] / int(value[2:])))
    return found


def images(name: str, settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """How many images pass the model forwards and backwards at most, if no stop rule ends it.

    settings: hyper-parameters as resolved; forget, retain: images in D_f and D_r. A forward pass
    alone counts as a third of a training step.
    """
    method, settings = load(name), in_images(name, settings, forget, retain)
    if hasattr(method, "images"):
        return method.images(settings, forget, retain)
    sizes = {"forget": forget, "retain": retain}
    return settings["epochs"] * sum(sizes[part] for part in method.TOUCHES)
