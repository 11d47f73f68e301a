"""What a config must agree in: a study with its blocks, experiments that share models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearning.recipe import shown

if TYPE_CHECKING:
    from unlearning.config.experiment import Experiment

SAME_MODELS = (
    *("dataset", "arch", "pretrained", "head_dropout"),
    *("precision", "evaluation", "original", "training"),
)
"""What two experiments that share models agree in."""


def check_study(experiment: Experiment) -> None:
    """Raise ValueError, naming the key, if a study lacks what it measures or has what it cannot."""
    study, scenarios = experiment.study, experiment.scenarios
    shortcut = experiment.poisoned
    if shortcut != (study == "shortcut"):
        raise ValueError("study: shortcut and scenarios.shortcut_removal need each other")
    if shortcut and (experiment.models_of or experiment.evaluation != "test"):
        raise ValueError("study: shortcut trains on poisoned data: no models_of, no validation")
    if (experiment.features is not None) != (study == "feature_space"):
        raise ValueError("study: feature_space and features need each other")
    if experiment.attributions and study not in ("feature_space", "shortcut"):
        raise ValueError("attributions: only a feature_space or a shortcut study has them")
    if study and (experiment.attacks or experiment.tuning):
        raise ValueError("study: attacks and tuning are for experiments that are no study")
    needs_duck = study in ("feature_space", "shortcut", "ablation")
    if needs_duck and "duck" not in [variant.name for variant in experiment.variants]:
        raise ValueError(f"methods: a study of kind {study} needs duck")
    if study in ("feature_space", "shortcut") and not experiment.has_oracles:
        raise ValueError(f"oracles: a study of kind {study} compares with them")
    if study == "feature_space" and scenarios.class_removal is None:
        raise ValueError("scenarios: a feature_space study needs class_removal")


def check_shared_models(experiments: Sequence[Experiment]) -> None:
    """Raise ValueError unless `models_of` names an experiment whose models would be the same."""
    homes = {e.label: e for e in experiments if e.models_of is None}
    for experiment in experiments:
        if experiment.models_of is None:
            continue
        if experiment.models_of not in homes:
            raise ValueError(
                f"models_of of {experiment.label}: {shown(experiment.models_of)} is none of "
                f"{', '.join(homes)}, the experiments with models of their own"
            )
        home = homes[experiment.models_of]
        for key in SAME_MODELS:
            if getattr(home, key) != getattr(experiment, key):
                raise ValueError(
                    f"models_of of {experiment.label}: its {key} differs from that of "
                    f"{home.label}, so the models are not the same"
                )
