"""Named settings of the methods: the cells of their settings files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearning.config import hyperparameters
from unlearning.files import METHODS

KEYS = ("dataset", "arch", "scenario", "settings_from")
PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """The methods' settings files: in an installed package, or in the checkout."""
    installed = PACKAGE / "presets"
    return installed if installed.is_dir() else PACKAGE.parents[1] / METHODS


def settings_of(
    method: str,
    preset: str | Mapping[str, str] | None,
    settings: Mapping[str, Any] | None,
    scenario: str,
) -> dict[str, Any]:
    """The settings that a preset names, with `settings` in place of those that it names too.

    preset: `DATASET-ARCH`, whose published settings are meant, or a mapping with dataset and arch
    and perhaps scenario and settings_from (`published` or `searched`). scenario: that of the
    forget set, unless the preset names one.

    Raises ValueError if neither is given, and for a preset that the method's file does not have.
    """
    if preset is None:
        if settings is None:
            raise ValueError(
                f"{method}: name its settings: preset='cifar10-resnet18' or settings={{...}}; "
                f"presets are for: {', '.join(published(method))}"
            )
        return dict(settings)
    cell = {"scenario": scenario, "settings_from": "published"} | _named(preset)
    if strange := sorted(cell.keys() - set(KEYS)):
        raise ValueError(f"preset: unknown key {strange[0]!r}; known: {', '.join(KEYS)}")
    chosen = cell.pop("settings_from")
    if chosen not in ("published", "searched"):
        raise ValueError(f"preset: settings_from is published or searched, not {chosen!r}")
    source = hyperparameters.origin(method, cell, chosen, folder())
    if source not in ("published", "searched", "searched elsewhere"):
        raise ValueError(
            f"preset: {method} has no {chosen} settings for {cell['dataset']}, {cell['arch']}, "
            f"{cell['scenario']}; it has {chosen} ones for: {', '.join(_sets(method, chosen))}"
        )
    where = f"settings of {method}"
    return hyperparameters.resolve(method, cell, settings or {}, folder(), where, chosen)


def published(method: str) -> list[str]:
    """The data sets for which a method's settings were published."""
    return _sets(method, "published")


def _named(preset: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(preset, str):
        dataset, _, arch = preset.partition("-")
        preset = {"dataset": dataset, "arch": arch}
    for key in ("dataset", "arch"):
        if not preset.get(key):
            raise ValueError(f"preset: {preset!r} names no {key}; e.g. 'cifar10-resnet18'")
    return dict(preset)


def _sets(method: str, chosen: str) -> list[str]:
    """The data sets that blocks of a method's file are about."""
    blocks = hyperparameters.load(folder() / f"{method}.yaml")
    found = list(blocks["defaults"]["datasets"]) if chosen == "published" else []
    for kind in ("overrides",) if chosen == "published" else ("tuned", "borrowed"):
        for block in blocks[kind]:
            named = block["when"].get("dataset", []) if block["settings"] else []
            found += [named] if isinstance(named, str) else named
    return list(dict.fromkeys(found)) or ["no data set"]
