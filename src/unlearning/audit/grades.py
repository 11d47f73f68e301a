"""How comparable an experiment of a run is with the paper's: grade A, B or C, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unlearning.config import hyperparameters
from unlearning.config.blocks import Variant
from unlearning.config.experiment import Experiment
from unlearning.plan.checks import resolved

RECIPE = ("pretrained", "head_dropout", "precision", "original", "training")
"""What of an experiment decides how its original is trained."""
Recorded = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""The settings that cells ran with, by experiment, scenario and method."""


def grade(one: Experiment, wanted: Experiment | None) -> tuple[str, str]:
    """The grade of an experiment beside the paper's (None: it has none), and the reason for B or C.

    A: data, architecture and recipe are the paper's. B: the recipe is not. C: data, the images
    that are evaluated, or the architecture are not.
    """
    if wanted is None:
        return "C", "no_paper_recipe"
    if one.dataset != wanted.dataset:
        return "C", f"other_data: {one.dataset}"
    if one.evaluation != wanted.evaluation:
        return "C", f"other_data: {one.evaluation} images"
    if one.test_half != wanted.test_half:
        return "C", f"other_data: {one.test_half or 'no'} half of the test images"
    if one.arch != wanted.arch:
        return "C", f"other_architecture: {one.arch}"
    differing = [key for key in RECIPE if getattr(one, key) != getattr(wanted, key)]
    return ("B", f"other_recipe: {', '.join(differing)}") if differing else ("A", "")


def recipe(experiment: Experiment) -> tuple:
    """What makes its original another one than that of another experiment, seeds aside."""
    return tuple(getattr(experiment, key) for key in RECIPE)


def settings(
    experiment: Experiment, method: str, scenario: str, recorded: Recorded, folder: str
) -> Mapping[str, Any]:
    """The settings of the method there: as recorded, else as its files give them now."""
    found = recorded.get((experiment.label, scenario, method))
    if found is None:
        found = resolved(experiment, variant(experiment, method), scenario, folder)
    return found


def variant(experiment: Experiment, method: str) -> Variant:
    """The variant of that name, or the method as its file has it."""
    named = {variant.name: variant for variant in experiment.variants}
    return named.get(method, Variant(name=method, method=method))


def differing(ours: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """The settings, of those that both have, whose values are not the same.

    One that only one side has was no choice yet when the other was written down.
    """
    return [key for key in published if key in ours and ours[key] != published[key]]


def other_settings(
    ours: Mapping[str, Any], published: Mapping[str, Any], cells: pd.DataFrame
) -> list[str]:
    """`differing`, but a cap on the epochs that cut no cell short changed nothing."""
    found = differing(ours, published)
    uncut = set(cells["capped"]) <= {"False"}
    if "epochs" in found and ours["epochs"] < published["epochs"] and uncut:
        found.remove("epochs")
    return found


def unstated(experiment: Experiment, method: str, scenario: str, folder: str) -> list[str]:
    """The settings of the method, there, that its source does not give."""
    cell = {"dataset": experiment.dataset, "arch": experiment.arch, "scenario": scenario}
    return hyperparameters.unstated(variant(experiment, method).method, cell, folder)


def stand_ins(experiment: Experiment, method: str, folder: str) -> list[str]:
    """The settings of the method that stand in for what cannot be had."""
    return list(hyperparameters.stand_ins(variant(experiment, method).method, folder))
