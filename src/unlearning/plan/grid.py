"""List the forget sets, models and cells that a config asks for, and their paths."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unlearning.config.blocks import Part
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.parsing import ConfigError
from unlearning.config.scenarios import (
    ClassRemoval,
    Draw,
    HomogeneousRemoval,
    SampleRemoval,
    SubclassRemoval,
)
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.seeds import seed_for

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

        stage: `attacks`, `probes`, or one of a study's.
        """
        return f"{self.experiment}/{stage}/{self.group}.json"

    def scores(self, part: str) -> str:
        """The file with the scores of the cells that a part has of the group, below the run."""
        return f"{self.experiment}/scores/{self.group}{f'.{part}' if part else ''}.json"

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
    """Every forget set of an experiment, each once, in the order of its config.

    Raises ConfigError if two parts give one name to different forget sets.
    """
    found: dict[tuple[str, str], Split] = {}
    for part in experiment.listed:
        for split in part_splits(part, experiment.evaluation):
            if found.setdefault((split.scenario, split.key), split) != split:
                raise ConfigError(
                    f"{experiment.label}: parts: {part.name}: its forget set {split.key} differs "
                    "from that of the same name in an earlier part; give it another seed"
                )
    return list(found.values())


def part_splits(part: Part, evaluation: str) -> list[Split]:
    """The forget sets of one part of an experiment."""
    scenarios = part.scenarios
    found = [
        *_class_splits(scenarios.class_removal, evaluation),
        *_homogeneous_splits(scenarios.homogeneous_removal, evaluation),
        *_listed_splits(scenarios.sample_removal, evaluation),
        *_subclass_splits(scenarios.subclass_removal, evaluation),
    ]
    if scenarios.shortcut_removal:
        poison = {"scenario": "shortcut_removal", "evaluation": evaluation}
        poison |= scenarios.shortcut_removal.model_dump()
        found.append(Split("shortcut_removal", "poisoned", poison))
    return found


def shared_splits(experiments: Iterable[Experiment]) -> dict[tuple[str, str, str], Split]:
    """Every forget set by the experiment in whose folder it lies, its scenario and its key.

    That is the experiment whose originals and oracles are used. Raises ConfigError if two that
    share models give one name to different forget sets.
    """
    found: dict[tuple[str, str, str], Split] = {}
    for experiment in experiments:
        for split in splits(experiment):
            key = experiment.models_of or experiment.label, split.scenario, split.key
            if found.setdefault(key, split) != split:
                raise ConfigError(
                    f"{experiment.label}: its forget set {split.key} differs from that of the "
                    f"same name in {key[0]}, whose oracles it would use; give it another seed"
                )
    return found


def split_of(experiment: Experiment, cell: Cell) -> Split:
    """The forget set of one of an experiment's cells."""
    wanted = cell.scenario, cell.split
    return next(s for s in splits(experiment) if (s.scenario, s.key) == wanted)


def _class_splits(removal: ClassRemoval | None, evaluation: str) -> list[Split]:
    """One a forget set; what two draws have in common is one forget set as well."""
    named = removal.forget or [] if removal else []
    entries = [sorted(entry) if isinstance(entry, list) else [entry] for entry in named]
    entries += drawn(removal.draw) if removal and removal.draw else []
    found = {}
    for classes in entries:
        settings = {"scenario": "class_removal", "classes": classes, "evaluation": evaluation}
        key = class_key(classes)
        found.setdefault(key, Split("class_removal", key, settings))
    return list(found.values())


def drawn(draw: Draw) -> list[list[int]]:
    """The sets of classes of a draw, each sorted: all counts of its first seed, then the next."""
    found = []
    for seed in draw.seeds:
        order = np.random.default_rng(seed_for("class order", draw.of, seed)).permutation(draw.of)
        found += [sorted(order[:count].tolist()) for count in draw.counts]
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


def _listed_splits(removal: SampleRemoval | None, evaluation: str) -> list[Split]:
    """One a list, named by its content."""
    found = []
    for one in removal.file if removal else []:
        settings = {"scenario": "sample_removal", "sha256": one.sha256, "images": one.images}
        settings["evaluation"] = evaluation
        found.append(Split("sample_removal", f"list-{one.sha256[:12]}", settings))
    return found


def _subclass_splits(removal: SubclassRemoval | None, evaluation: str) -> list[Split]:
    found = []
    for name in removal.forget if removal else []:
        settings = {"scenario": "subclass_removal", "subclass": name, "evaluation": evaluation}
        found.append(Split("subclass_removal", f"subclass-{name}", settings))
    return found


def listed(config: RunConfig) -> dict[str, str]:
    """Where the forget lists of a run lie, by their hash."""
    parts = (part for experiment in config.experiments for part in experiment.listed)
    removals = (part.scenarios.sample_removal for part in parts)
    return {one.sha256: one.path for removal in removals if removal for one in removal.file}


def cells(config: RunConfig) -> list[Cell]:
    """Every cell of a run but those of studies: a row of runs.csv each."""
    return [cell for e in config.experiments if not e.study for cell in cells_of(e)]


def study_cells(config: RunConfig) -> list[Cell]:
    """Every cell of the studies of a run."""
    return [cell for e in config.experiments if e.study for cell in cells_of(e)]


def cells_of(experiment: Experiment) -> list[Cell]:
    """Its cells, part by part, each once."""
    return list(parts_of(experiment))


def parts_of(experiment: Experiment) -> dict[Cell, int]:
    """The number of the first part that lists a cell, by cell, in the order of the parts.

    The references have one unlearning seed: nothing random in them.
    """
    found: dict[Cell, int] = {}
    for number, part in enumerate(experiment.listed):
        for split in part_splits(part, experiment.evaluation):
            for variant in part.variants:
                for train_seed in part.train_seeds or experiment.train_seeds:
                    for seed in unlearn_seeds(experiment, variant.method):
                        names = split.scenario, split.key, train_seed, variant.name, seed
                        found.setdefault(Cell(experiment.label, *names), number)
    return found


def ranks(config: RunConfig) -> dict[tuple[str, str], int]:
    """When each part of each experiment is wanted, by the experiment's label and the part's name.

    Its place in the config's `order`; without one its place in its experiment, and studies after
    all else. 0 comes first.
    """
    found = {}
    most = max(len(e.listed) for e in config.experiments)
    for experiment in config.experiments:
        for number, part in enumerate(experiment.listed):
            name = part.name or experiment.label
            if config.order is not None:
                place = name in config.order
                number = config.order.index(name) if place else len(config.order) + number
            elif experiment.study:
                number += most
            found[experiment.label, part.name] = number
    return found


def first_wanted(config: RunConfig, trunk_of: Callable[[str], str]) -> dict[tuple, int]:
    """The rank of the first part that wants a job.

    trunk_of: the folder of the originals that a method starts from, by the method's name.
    Keys: (experiment, group, method) of a cell and of an oracle, (experiment, trunk, training seed)
    of an original; models are those of the experiment in whose folder they lie.
    """
    rank_of, found = ranks(config), {}
    for experiment in config.experiments:
        home = experiment.models_of or experiment.label
        trunks = {variant.name: trunk_of(variant.method) for variant in experiment.variants}
        for cell, number in parts_of(experiment).items():
            rank = rank_of[experiment.label, experiment.listed[number].name]
            original = home, trunks[cell.method], cell.train_seed
            keys = {(experiment.label, cell.group, cell.method), original}
            if cell.method == "oracle":
                keys.add((home, cell.group, "oracle"))
            found |= {key: min(rank, found.get(key, rank)) for key in keys}
    return found


def scored(experiment: Experiment) -> dict[str, list[Cell]]:
    """The cells of each file of scores, by its path below the run's folder.

    One file a group and part, so that a part is scored before the next one is run. The part that
    brings the oracle also scores the group's earlier cells again, now beside it.
    """
    found: dict[str, list[Cell]] = {}
    earlier: dict[tuple, list[Cell]] = {}
    for cell, number in parts_of(experiment).items():
        part = experiment.listed[number].name
        found.setdefault(cell.scores(part), []).append(cell)
        earlier.setdefault((cell.group, part), []).append(cell)
    for cell, number in parts_of(experiment).items():
        if cell.method == "oracle":
            for part in experiment.listed[:number]:
                found[cell.scores(experiment.listed[number].name)] += earlier.get(
                    (cell.group, part.name), []
                )
    return found


def most_cells(experiment: Experiment) -> int:
    """How many cells an experiment has at most, without listing them."""
    total = 0
    for part in experiment.listed:
        removal, images = part.scenarios.class_removal, part.scenarios.homogeneous_removal
        sets = len(removal.forget or []) if removal else 0
        sets += (
            len(removal.draw.counts) * len(removal.draw.seeds) if removal and removal.draw else 0
        )
        sets += len(images.split_seeds) if images else 0
        lists = part.scenarios.sample_removal
        sets += len(lists.file) if lists else 0
        fine = part.scenarios.subclass_removal
        sets += len(fine.forget) if fine else 0
        seeds = len(part.train_seeds or experiment.train_seeds) * len(experiment.unlearn_seeds)
        total += max(sets, 1) * len(part.variants) * seeds
    return total


def unlearn_seeds(experiment: Experiment, method: str) -> list[int]:
    """The seeds of one method: all of the config's, or the first alone for a reference."""
    seeds = experiment.unlearn_seeds
    return seeds[:1] if method in (*REFERENCES, *ORIGINALS) else seeds
