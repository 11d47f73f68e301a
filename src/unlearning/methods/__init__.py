"""Unlearning methods by name: one module each, imported only when it is run.

A method's module offers
    TOUCHES   what data it reads: any of "retain", "forget" and "surrogate";
    Settings  its hyper-parameters, typed, without defaults (those are in configs/methods/);
    unlearn(model, problem, settings) -> model  which may change `model` in place;
    surrogates(settings, like) -> Images  if it touches "surrogate": images in the shape of `like`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

REFERENCES = ("original", "oracle")
"""What methods are compared with; part of every grid."""

ORIGINALS = ("original", "original_erm")
"""References that are the model before unlearning; `original_erm` is there for `erm_ktp`."""


def load(name: str) -> ModuleType:
    """The module of the method `name`."""
    return importlib.import_module(f"unlearning.methods.{name}")
