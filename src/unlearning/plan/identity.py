"""The settings that identify each model and cell of a run; its record holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearning.config import hyperparameters
from unlearning.config.experiment import Experiment
from unlearning.plan import checks
from unlearning.plan.grid import Cell

SHARED = ("dataset", "arch", "pretrained", "head_dropout", "precision", "evaluation")
"""Keys of an experiment that are settings of all its models."""


def original(experiment: Experiment, train_seed: int, ending: str = "") -> dict[str, Any]:
    """Settings of an original. ending: what its architecture ends in (`ending_of`)."""
    return _trained(experiment, ending) | {"train_seed": train_seed}


def oracle(experiment: Experiment, train_seed: int, scenario: str, split: str) -> dict[str, Any]:
    """Settings of an oracle."""
    return original(experiment, train_seed) | {"scenario": scenario, "split": split}


def shadow(experiment: Experiment, number: int) -> dict[str, Any]:
    """Settings of a shadow model."""
    return _trained(experiment) | {"shadow": number}


def unlearned(
    experiment: Experiment, cell: Cell, folder: str | Path = hyperparameters.FOLDER
) -> dict[str, Any]:
    """Settings of a cell: the model's facts, the forget set, the method and its settings."""
    variant = next(v for v in experiment.variants if v.name == cell.method)
    found = _model(experiment) | {
        "train_seed": cell.train_seed,
        "scenario": cell.scenario,
        "split": cell.split,
        "method": cell.method,
        "start_arch": experiment.arch + ending_of(variant.method, folder),
        "base_method": variant.method,
        "hyperparameters": checks.resolved(experiment, variant, cell.scenario, folder),
        "unlearn_seed": cell.unlearn_seed,
    }
    if experiment.retain_evaluated:
        found["retain_evaluated"] = experiment.retain_evaluated
    if experiment.given:
        found["given"] = experiment.given
    return found | checks.cap(experiment, variant, cell.scenario, folder)


def ending_of(method: str, folder: str | Path = hyperparameters.FOLDER) -> str:
    """What the architecture of a method's original ends in: "" or "_erm"."""
    return hyperparameters.original_of(method, folder).removeprefix("original")


def _model(experiment: Experiment) -> dict[str, Any]:
    found = {key: getattr(experiment, key) for key in SHARED}
    return found | {"experiment": experiment.label, "threads": experiment.resources.threads}


def _trained(experiment: Experiment, ending: str = "") -> dict[str, Any]:
    found = _model(experiment) | {"arch": experiment.arch + ending}
    return found | {"training": experiment.training.model_dump()}
