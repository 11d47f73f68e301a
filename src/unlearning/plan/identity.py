"""The settings that identify each model and cell of a run; its record holds them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from unlearning.config import hyperparameters
from unlearning.config.elsewhere import factory_file, is_factory
from unlearning.config.experiment import Experiment
from unlearning.files import METHODS, sha256_file
from unlearning.plan import checks
from unlearning.plan.grid import Cell

SHARED = ("dataset", "arch", "pretrained", "head_dropout", "precision", "evaluation")
"""Keys of an experiment that are settings of all its models."""


def original(experiment: Experiment, train_seed: int, ending: str = "") -> dict[str, Any]:
    """Settings of an original. ending: what its architecture ends in (`ending_of`)."""
    if experiment.original is None or ending:
        return _trained(experiment, ending) | {"train_seed": train_seed}
    found = _model(experiment) | _taken(experiment, experiment.original.file(train_seed))
    return found | {"train_seed": train_seed}


def taken(
    experiment: Experiment, scenario: str, split: str, train_seed: int, method: str
) -> dict[str, Any]:
    """Settings of a model that was unlearned elsewhere, as a cell starts from it."""
    file = experiment.unlearned[method].file(scenario, split, train_seed)
    found = _model(experiment) | _taken(experiment, file) | {"train_seed": train_seed}
    return found | {"scenario": scenario, "split": split, "method": method}


def oracle(experiment: Experiment, train_seed: int, scenario: str, split: str) -> dict[str, Any]:
    """Settings of an oracle."""
    found = _trained(experiment) | {"train_seed": train_seed}
    return found | {"scenario": scenario, "split": split}


def shadow(experiment: Experiment, number: int) -> dict[str, Any]:
    """Settings of a shadow model."""
    return _trained(experiment) | {"shadow": number}


def unlearned(experiment: Experiment, cell: Cell, folder: str | Path = METHODS) -> dict[str, Any]:
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
    if cell.method in experiment.unlearned:
        where = cell.scenario, cell.split, cell.train_seed
        found |= _taken(experiment, experiment.unlearned[cell.method].file(*where))
    if experiment.given:
        found["given"] = experiment.given
    return found | checks.cap(experiment, variant, cell.scenario, folder)


def ending_of(method: str, folder: str | Path = METHODS) -> str:
    """What the architecture of a method's original ends in: "" or "_erm"."""
    return hyperparameters.original_of(method, folder).removeprefix("original")


def trunk_of(method: str, folder: str | Path = METHODS) -> str:
    """The folder of the originals that a method starts from: "originals" or "originals_erm"."""
    return f"originals{ending_of(method, folder)}"


def _model(experiment: Experiment) -> dict[str, Any]:
    found = {key: getattr(experiment, key) for key in SHARED}
    if experiment.original and experiment.original.mean:
        moments = {"mean": experiment.original.mean, "std": experiment.original.std}
        found["normalisation"] = moments
    if is_factory(experiment.arch):
        found["factory_sha256"] = _hash(factory_file(experiment.arch))
    return found | {"experiment": experiment.label, "threads": experiment.resources.threads}


def _taken(experiment: Experiment, weights: Path) -> dict[str, Any]:
    """The identity of a model that was made elsewhere: its content, whatever its path."""
    found: dict[str, Any] = {"weights_sha256": _hash(weights)}
    if experiment.original and experiment.original.class_names:
        found["class_names"] = experiment.original.class_names
    return found


def _hash(path: Path) -> str:
    state = path.stat()
    return _hashed(path.resolve(), state.st_mtime_ns, state.st_size)


@functools.cache
def _hashed(path: Path, _changed: int, _bytes: int) -> str:
    """The hash of a file as it was then: a plan asks for it once a cell."""
    return sha256_file(path)


def _trained(experiment: Experiment, ending: str = "") -> dict[str, Any]:
    found = _model(experiment) | {"arch": experiment.arch + ending}
    return found | {"training": experiment.training.model_dump()}
