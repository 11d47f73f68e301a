"""Run one method on one problem: what the verb `unlearn` and the library's functions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unlearning import methods
from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.recipe import Strict
from unlearning.training.loop import check_finite


def typed(method: str, settings: Mapping[str, Any], problem: Problem) -> Strict:
    """A method's hyper-parameters, shares of the data as numbers of the problem's images.

    Raises pydantic's ValidationError for a missing, unknown or impossible one.
    """
    sizes = len(problem.forget), len(problem.retain), len(problem.retained_classes)
    return methods.load(method).Settings(**methods.in_images(method, settings, *sizes))


def run(method: str, model: Classifier, problem: Problem, settings: Strict) -> Classifier:
    """Unlearn, which may change `model`; the problem's stopwatch has the seconds.

    Torch's own generator starts from the problem's seed. Raises Diverged where a loss or a weight
    is not finite, Impossible and NotDefined for what the method cannot do with this forget set.
    """
    torch.manual_seed(problem.seed)
    problem.stopwatch.start()
    model = methods.load(method).unlearn(model, problem, settings)
    problem.stopwatch.stop()
    check_finite(model)
    return model
