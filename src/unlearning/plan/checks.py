"""Check a whole config before Snakemake plans it.

`parsing.parse` checks a config by itself; here its experiments meet the methods' settings files
and each other. Every problem is a ConfigError that names file and key.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unlearning import methods
from unlearning.config import hyperparameters, parsing
from unlearning.config.blocks import Variant
from unlearning.config.elsewhere import factory_file, is_factory, train_seeds
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.parsing import ConfigError
from unlearning.config.scenarios import Scenarios
from unlearning.data.catalogue import DatasetInfo
from unlearning.files import METHODS, canonical_json
from unlearning.metrics.aus import SCENARIOS
from unlearning.models import FAMILIES
from unlearning.plan import grid
from unlearning.plan.tuning import search

MOST_CELLS = 20_000
"""Of one experiment: more could not even be planned. Forget sets x methods x seeds."""
KINDS = tuple(Scenarios.model_fields)
"""The scenarios that a config or a settings file may name."""


def plan(
    raw: Any,
    file: str,
    datasets: Mapping[str, DatasetInfo],
    folder: str | Path = METHODS,
) -> tuple[RunConfig, list[Experiment]]:
    """The typed config read from `file`, and the searches that it declares, as experiments.

    raw: what the file holds. folder: the methods' settings files.
    Raises ConfigError, one line a problem, for anything that could not be run.
    """
    methods = hyperparameters.known_methods(folder)
    known = {"dataset": datasets, "arch": FAMILIES, "scenario": KINDS}
    hyperparameters.check_conditions(folder, known)
    found = parsing.parse(raw, file, datasets, methods)
    for experiment in found.experiments:
        if (count := grid.most_cells(experiment)) > MOST_CELLS:
            raise ConfigError(f"{file}: {experiment.label}: {count} cells, at most {MOST_CELLS}")
        _check_methods(experiment, f"{file}: {experiment.label}", folder)
    searches = [search(e, file, folder) for e in found.experiments if e.tuning]
    for experiment in searches:
        if (count := grid.most_cells(experiment)) > MOST_CELLS:
            raise ConfigError(f"{file}: {experiment.label}: {count} cells, at most {MOST_CELLS}")
    try:
        grid.shared_splits([*found.experiments, *searches])
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return found, searches


def resolved(
    experiment: Experiment,
    variant: Variant,
    scenario: str,
    folder: str | Path = METHODS,
    where: str = "",
) -> dict[str, Any]:
    """The hyper-parameters of a method in one experiment and scenario, its epochs capped."""
    cell = {"dataset": experiment.dataset, "arch": experiment.arch, "scenario": scenario}
    chosen = variant.settings_from or experiment.settings_from
    found = hyperparameters.resolve(variant.method, cell, variant.settings, folder, where, chosen)
    most = experiment.epochs_at_most.get(variant.method)
    return found if most is None else found | {"epochs": min(most, found["epochs"])}


def origin(
    variant: Variant,
    experiment: Experiment,
    scenario: str,
    folder: str | Path = METHODS,
) -> str:
    """Where the settings of a method come from (`hyperparameters.origin`), and if some differ."""
    cell = {"dataset": experiment.dataset, "arch": experiment.arch, "scenario": scenario}
    chosen = variant.settings_from or experiment.settings_from
    found = hyperparameters.origin(variant.method, cell, chosen, folder)
    return f"{found}, changed" if found and variant.settings else found


def cap(
    experiment: Experiment,
    variant: Variant,
    scenario: str,
    folder: str | Path = METHODS,
) -> dict[str, int]:
    """`published_epochs` of a method whose epochs the experiment lowers; nothing of any other."""
    free = experiment.model_copy(update={"epochs_at_most": {}})
    published = resolved(free, variant, scenario, folder).get("epochs")
    lowered = resolved(experiment, variant, scenario, folder).get("epochs") != published
    return {"published_epochs": published} if lowered else {}


def check_files(experiments: Iterable[Experiment], file: str) -> None:
    """Raise ConfigError for an original that is given and not there, or without its factory.

    Apart from `plan`, because a finished run is drawn again without them.
    """
    for experiment in experiments:
        where = f"{file}: {experiment.label}: "
        if is_factory(experiment.arch):
            try:
                factory_file(experiment.arch)
            except ValueError as error:
                raise ConfigError(f"{where}{error}") from None
        for seed in train_seeds(experiment) if experiment.original else ():
            if not (weights := experiment.original.file(seed)).is_file():
                raise ConfigError(f"{where}original.weights: {weights} is not there")


def check_bounds(
    experiments: Iterable[Experiment], file: str, folder: str | Path = METHODS
) -> None:
    """Raise ConfigError for a hyper-parameter that its method would refuse: all before any runs.

    Apart from `plan`, because the methods' own settings come with torch: seconds to import.
    """
    seen = set()
    for experiment in experiments:
        for variant, scenario in itertools.product(experiment.variants, SCENARIOS):
            settings = resolved(experiment, variant, scenario, folder)
            key = canonical_json([variant.method, settings])
            if key in seen:
                continue
            seen.add(key)
            try:
                some = methods.in_images(variant.method, settings, 1000, 9000)
                methods.load(variant.method).Settings(**some)
            except ValidationError as error:
                where = f"{file}: {experiment.label}: methods: {variant.name}: settings"
                problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                raise ConfigError("\n".join(f"{where}.{problem}" for problem in problems)) from None


def _check_methods(experiment: Experiment, where: str, folder: str | Path) -> None:
    """Every method's settings fit, and the original that it is compared with is there."""
    names = [variant.name for variant in experiment.variants]
    for variant in experiment.variants:
        for scenario in SCENARIOS:
            place = f"{where}: methods: {variant.name}: settings"
            resolved(experiment, variant, scenario, folder, place)
        needed = hyperparameters.original_of(variant.method, folder)
        if needed not in names:
            raise ConfigError(f"{where}: methods: {variant.name} starts from {needed}: add it")
