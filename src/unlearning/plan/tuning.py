"""The search that an experiment declares, as an experiment of its own: a variant a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unlearning.config import hyperparameters
from unlearning.config.blocks import Part, Variant
from unlearning.config.experiment import Experiment
from unlearning.config.parsing import ConfigError
from unlearning.config.scenarios import Scenarios
from unlearning.files import METHODS
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.metrics.aus import SCENARIOS

PUBLISHED = "-published"
"""What the name of a method's published settings ends in, beside the candidates of a search."""
RETAIN_EVALUATED = 1000
"""Retained training images that a search on a share evaluates: its objective needs none."""


def tuning_experiment(
    experiment: Experiment, candidates: Mapping[str, Mapping[str, list[dict]]]
) -> Experiment:
    """The search for one experiment: each candidate a variant, scored on held-out images.

    candidates: the settings to try, by scenario and method; an original, which has none, runs once.
    The published settings of a method run beside its candidates, to be compared, not chosen.
    A scenario is a part of the search. Two scenarios share the name of a candidate, and its
    number, if its settings are the same in both.
    """
    numbers: dict[str, list[dict]] = {}
    parts = []
    for scenario, found in candidates.items():
        variants = []
        for method, settings in found.items():
            known = numbers.setdefault(method, [])
            known += [one for one in settings if one not in known]
            variants += [
                Variant(name=f"{method}-{known.index(one) + 1}", method=method, settings=one)
                for one in settings
            ]
            name = f"{method}{PUBLISHED}" if settings else method
            variants.append(Variant(name=name, method=method))
        only = Scenarios(**{scenario: getattr(experiment.tuning.scenarios, scenario)})
        fields = {"name": scenario, "methods": variants, "scenarios": only, "train_seeds": None}
        parts.append(Part.model_construct(**fields))
    where = {"evaluation": "validation", "models_of": None, "test_half": None}
    where["given"] = experiment.tuning.share
    if experiment.tuning.share:
        where["retain_evaluated"] = experiment.retain_evaluated or RETAIN_EVALUATED
    if experiment.tuning.judged_on == "test_half":
        home = experiment.models_of or experiment.label
        where = {"models_of": home, "test_half": "first"}
    changes = {
        **where,
        "name": f"{experiment.label}-tuning",
        "methods": None,
        "scenarios": None,
        "parts": parts,
        "train_seeds": experiment.tuning.train_seeds,
        "settings_from": "published",
        "tuning": None,
        "attacks": None,
    }
    return experiment.model_copy(update=changes)


def search(experiment: Experiment, file: str, folder: str | Path = METHODS) -> Experiment:
    """The search that an experiment of the config `file` declares, as an experiment of its own.

    Raises ConfigError for a method that has nothing to search; and for a search on a half of the
    test images whose original is not the run's, or whose searched settings are to be reported on
    the images of the search.
    """
    tuning, found = experiment.tuning, {}
    place = f"{file}: {experiment.label}: tuning"
    if tuning.judged_on == "test_half":
        where = f"{place}.judged_on: test_half"
        if strange := sorted({*tuning.train_seeds} - {*experiment.train_seeds}):
            raise ConfigError(f"{where}: the run has no original of seed {strange[0]}")
        chosen = {v.settings_from or experiment.settings_from for v in experiment.variants}
        if "searched" in chosen and experiment.test_half != "second":
            raise ConfigError(f"{where}: searched settings need test_half: second beside it")
    methods = dict.fromkeys(v.method for v in experiment.variants if v.method not in REFERENCES)
    for name in tuning.methods or ():
        if name not in methods:
            raise ConfigError(f"{place}.methods: {name} is not among its methods")
    kept = [m for m in methods if tuning.methods is None or m in tuning.methods]
    kept += {hyperparameters.original_of(m, folder) for m in kept} - {*kept, "original"}
    for scenario in SCENARIOS:
        if getattr(tuning.scenarios, scenario):
            cell = {"dataset": experiment.dataset, "arch": experiment.arch, "scenario": scenario}
            points = {
                m: hyperparameters.candidates(m, cell, tuning.budget, folder)
                for m in kept
                if hyperparameters.defined(m, scenario, folder)
            }
            found[scenario] = {m: p for m, p in points.items() if p or m in ORIGINALS}
    return tuning_experiment(experiment, found)
