"""Whether the forget sets of an experiment fit its data set."""

from __future__ import annotations

import difflib

from unlearning.config.scenarios import Scenarios
from unlearning.data.catalogue import DatasetInfo
from unlearning.data.superclasses import SUPERCLASSES, subclasses
from unlearning.recipe import VALIDATION_SHARE, shown

FEWEST_IMAGES = 2
"""To forget and to retain: BatchNorm cannot train on one."""
RELEASE_INDICES = ("cifar10", "cifar100", "tiny_imagenet")


def check_fits(scenarios: Scenarios, dataset: DatasetInfo, evaluation: str) -> None:
    """Raise ValueError, naming the key, for a forget set that the data set cannot have."""
    _check_classes(scenarios, dataset)
    _check_count(scenarios, dataset, evaluation)
    _check_lists(scenarios, dataset, evaluation)
    _check_subclasses(scenarios, dataset, evaluation)


def _check_classes(scenarios: Scenarios, dataset: DatasetInfo) -> None:
    classes, shortcut = dataset.classes, scenarios.shortcut_removal
    for key in ("source", "label") if shortcut else ():
        if getattr(shortcut, key) >= classes:
            raise ValueError(
                f"scenarios.shortcut_removal.{key}: class {getattr(shortcut, key)} is outside "
                f"0..{classes - 1}, the classes of {dataset.name}"
            )
    removal = scenarios.class_removal
    if removal and removal.draw and removal.draw.of != classes:
        raise ValueError(f"scenarios.class_removal.draw.of: {dataset.name} has {classes} classes")
    for entry in removal.forget or [] if removal else []:
        wanted = entry if isinstance(entry, list) else [entry]
        for label in wanted:
            if not 0 <= label < classes:
                raise ValueError(
                    f"scenarios.class_removal.forget: class {label} is outside "
                    f"0..{classes - 1}, the classes of {dataset.name}"
                )
        if len(wanted) == classes:
            raise ValueError(
                "scenarios.class_removal.forget: all classes of "
                f"{dataset.name} would be forgotten; nothing would be retained"
            )


def _check_lists(scenarios: Scenarios, dataset: DatasetInfo, evaluation: str) -> None:
    train, removal = dataset.train, scenarios.sample_removal
    if removal and evaluation == "validation":
        raise ValueError(
            "scenarios.sample_removal: a list names images of the whole training part; use "
            "evaluation: test"
        )
    for one in removal.file if removal else ():
        if not FEWEST_IMAGES <= one.images <= train - FEWEST_IMAGES:
            raise ValueError(
                f"scenarios.sample_removal.file: {one.path} lists {one.images} of the {train} "
                f"training images of {dataset.name}; both parts need at least {FEWEST_IMAGES} "
                "images: BatchNorm cannot train on one"
            )


def _check_subclasses(scenarios: Scenarios, dataset: DatasetInfo, evaluation: str) -> None:
    known, removal = subclasses(dataset.name), scenarios.subclass_removal
    if removal is None:
        return
    if not known:
        raise ValueError(
            f"scenarios.subclass_removal: {dataset.name} has no sub-classes; those that have: "
            f"{', '.join(SUPERCLASSES)}"
        )
    if evaluation == "validation":
        raise ValueError("scenarios.subclass_removal: use evaluation: test")
    for name in removal.forget:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"scenarios.subclass_removal.forget: unknown sub-class {shown(name)}; {hint}known: "
                f"{', '.join(known)}"
            )


def _check_count(scenarios: Scenarios, dataset: DatasetInfo, evaluation: str) -> None:
    train, removal = dataset.train, scenarios.homogeneous_removal
    if removal is None:
        return
    if removal.indices == "release" and dataset.name not in RELEASE_INDICES:
        raise ValueError(
            "scenarios.homogeneous_removal.indices: the release has indices for "
            f"{', '.join(RELEASE_INDICES)} alone, not for {dataset.name}; use own"
        )
    if removal.indices == "release" and evaluation == "validation":
        raise ValueError(
            "scenarios.homogeneous_removal.indices: the release's indices count through the "
            "whole training part; use own, or evaluation: test"
        )
    if removal.indices == "own":
        if evaluation == "validation":
            train -= int(VALIDATION_SHARE * train)
        size = removal.count or round(removal.fraction * train)
        if not FEWEST_IMAGES <= size <= train - FEWEST_IMAGES:
            key = "count" if removal.count else "fraction"
            raise ValueError(
                f"scenarios.homogeneous_removal.{key}: {size} of the {train} training images "
                f"of {dataset.name} would be forgotten; both parts need at least "
                f"{FEWEST_IMAGES} images: BatchNorm cannot train on one"
            )
