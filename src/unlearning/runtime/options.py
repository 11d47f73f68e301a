"""The options of a verb: those that several verbs share are stated here, its own in its stage.

This file is part of every job's code hash, so what only one verb is asked stays with that verb.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from unlearning.files import METHODS

Option = str | Mapping[str, Any]
"""The help of an option that must be given, or all that `add_argument` takes of another one."""
SHARED: dict[str, Option] = {
    "cells": "the cells, each with the original it is compared with where the verb needs it (JSON)",
    "config": "the run's resolved config (JSON)",
    "data": "packed data set (safetensors)",
    "datasets": {"default": "configs/datasets.csv", "help": "the catalogue"},
    "folder": "the folder in which the cells lie",
    "methods": {"default": METHODS, "help": "the settings files"},
    "model": "weights to write (safetensors)",
    "oracle": {"help": "the cell of the oracle; without it no distance to it"},
    "out": "the file or folder to write",
    "outputs": "logits to write (safetensors)",
    "pretrained": {"help": "packed weights to start from (safetensors)"},
    "record": "record to write (JSON)",
    "root": "the run's folder",
    "runs": "runs.csv, one row a cell",
    "settings": "settings of what is made (JSON)",
    "split": "the split (JSON)",
    "start": "weights to start from (safetensors)",
    "start_record": "their record (JSON)",
    "threads": {"type": int, "default": 1},
}


def verb_parser(about: str, *shared: str, **own: Option) -> argparse.ArgumentParser:
    """The parser of a verb.

    about: its module's docstring, which begins with the verb and a colon. shared: names in
    `SHARED`. own: the verb's own options, and shared ones that it explains in its own words.
    """
    found = argparse.ArgumentParser(prog=f"unlearning {about.partition(':')[0]}", description=about)
    for name, option in ({name: SHARED[name] for name in shared} | own).items():
        given = {"required": True, "help": option} if isinstance(option, str) else option
        found.add_argument(f"--{name.replace('_', '-')}", **given)
    return found


def asked(argv: list[str], about: str, *shared: str, **own: Option) -> argparse.Namespace:
    """The options of a command; arguments as in `verb_parser`."""
    return verb_parser(about, *shared, **own).parse_args(argv)
