"""Unlearning methods by name: one module each, imported only when it is run.

A method's module offers
    TOUCHES   what data it reads: any of "retain", "forget" and "surrogate";
    Settings  its hyper-parameters, typed, without defaults (those are in configs/methods/);
    unlearn(model, problem, settings) -> model  which may change `model` in place;
    surrogates(settings, like) -> Images  if it touches "surrogate": images in the shape of `like`;
    images(settings, forget, retain)  if epochs times the sizes of what it touches is not what it
              costs: how many images train the model, for `estimate` (see `images`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

REFERENCES = ("original", "oracle")
"""What methods are compared with; part of every grid."""

ORIGINALS = ("original", "original_erm")
"""References that are the model before unlearning; `original_erm` is there for `erm_ktp`."""


def load(name: str) -> ModuleType:
    """The module of the method `name`."""
    return importlib.import_module(f"unlearning.methods.{name}")


def images(name: str, settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """How many images pass the model forwards and backwards at most, if no stop rule ends it.

    settings: hyper-parameters as resolved; forget, retain: images in D_f and D_r. A forward pass
    alone counts as a third of a training step.
    """
    method = load(name)
    if hasattr(method, "images"):
        return method.images(settings, forget, retain)
    sizes = {"forget": forget, "retain": retain}
    return settings["epochs"] * sum(sizes[part] for part in method.TOUCHES)
