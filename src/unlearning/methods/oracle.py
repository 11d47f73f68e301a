"""Reference: the retrained model, trained from the start on the retained data alone.

The training is `train_oracle` in the DAG, with the original's loop and recipe; here its
weights come in as the model to start from. Its unlearning time is its training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.recipe import Strict

TOUCHES = frozenset({"retain"})


class Settings(Strict):
    """None."""


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Return the retrained model unchanged."""
    return model


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """None: it is trained before (see `methods`)."""
    return 0.0
