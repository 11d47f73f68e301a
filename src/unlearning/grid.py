"""The cells of a run: which splits, models and methods a config asks for, and where they lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from unlearning.config import ClassRemoval, Experiment, HomogeneousRemoval, RunConfig
from unlearning.methods import ORIGINALS, REFERENCES

FEWEST_SEEDS = 4
"""Training seeds from which on ensembles are measured: fewer models say nothing of a spread."""


@dataclass(frozen=True)
class Split:
    """One forget set. `settings` is all that its index file depends on, beside the data."""

    scenario: str
    key: str
    settings: dict[str, Any]

    @property
    def path(self) -> str:
        """The index file, below the experiment's folder."""
        return f"splits/{self.scenario}/{self.key}.json"


@dataclass(frozen=True)
class Cell:
    """One row of runs.csv: a method on a forget set, from one original, with one seed."""

    experiment: str
    scenario: str
    split: str
    train_seed: int
    method: str
    unlearn_seed: int

    @property
    def group(self) -> str:
        """The part of a path that names forget set and training seed."""
        return f"{self.scenario}/{self.split}/train-{self.train_seed}"

    @property
    def name(self) -> str:
        """The part of a path that names the cell within its group."""
        return f"{self.method}/unlearn-{self.unlearn_seed}"

    @property
    def folder(self) -> str:
        """Where the cell's files lie, below the run's folder."""
        return f"{self.experiment}/runs/{self.group}/{self.name}"

    def measured(self, stage: str) -> str:
        """The file with what a stage found of the cell's group, below the run's folder.

        stage: `scores`, `attacks` or `probes`.
        """
        return f"{self.experiment}/{stage}/{self.group}.json"

    @property
    def ensemble(self) -> str:
        """The file with what takes every training seed of the forget set."""
        return f"{self.experiment}/ensembles/{self.scenario}/{self.split}.json"


def class_key(classes: list[int]) -> str:
    """`class-3`, `classes-0-7`; a long list is shortened to its length and a hash."""
    text = "-".join(map(str, sorted(classes)))
    if len(classes) == 1:
        return f"class-{text}"
    if len(classes) <= 10:
        return f"classes-{text}"
    return f"classes-{len(classes)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def splits(experiment: Experiment) -> list[Split]:
    """Every forget set of an experiment, in the order of its config."""
    scenarios = experiment.scenarios
    return [
        *_class_splits(scenarios.class_removal, experiment.evaluation),
        *_homogeneous_splits(scenarios.homogeneous_removal, experiment.evaluation),
    ]


def _class_splits(removal: ClassRemoval | None, evaluation: str) -> list[Split]:
    found = []
    for entry in removal.forget if removal else []:
        classes = sorted(entry) if isinstance(entry, list) else [entry]
        settings = {"scenario": "class_removal", "classes": classes, "evaluation": evaluation}
        found.append(Split("class_removal", class_key(classes), settings))
    return found


def _homogeneous_splits(removal: HomogeneousRemoval | None, evaluation: str) -> list[Split]:
    found = []
    for seed in removal.split_seeds if removal else []:
        settings = {
            "scenario": "homogeneous_removal",
            "seed": seed,
            "fraction": removal.fraction,
            "count": removal.count,
            "indices": removal.indices,
            "evaluation": evaluation,
        }
        found.append(Split("homogeneous_removal", f"seed-{seed}", settings))
    return found


def cells(config: RunConfig) -> list[Cell]:
    """Every cell of a run."""
    return [cell for experiment in config.experiments for cell in cells_of(experiment)]


def cells_of(experiment: Experiment) -> list[Cell]:
    """Its cells. The references have one unlearning seed: nothing random in them."""
    return [
        Cell(experiment.label, split.scenario, split.key, train_seed, variant.name, unlearn_seed)
        for split in splits(experiment)
        for variant in experiment.variants
        for train_seed in experiment.train_seeds
        for unlearn_seed in unlearn_seeds(experiment, variant.method)
    ]


def unlearn_seeds(experiment: Experiment, method: str) -> list[int]:
    """The seeds of one method: all of the config's, or the first alone for a reference."""
    seeds = experiment.unlearn_seeds
    return seeds[:1] if method in (*REFERENCES, *ORIGINALS) else seeds
