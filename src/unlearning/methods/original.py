"""Reference: the original model, as it was before any request to forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.recipe import Strict

TOUCHES = frozenset()


class Settings(Strict):
    """None."""


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Return the model unchanged."""
    return model


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """None: it is trained before (see `methods`)."""
    return 0.0
