"""One verb in this process, whether a shell or the server of jobs started it."""

from __future__ import annotations

import contextlib
import importlib

from unlearning.clock import reported
from unlearning.failures import in_one_line

UNREPORTED = ("compare", "draw", "estimate", "show", "snapshot", "trace", "verify")
"""Verbs that do not end with how long they worked: people ask for them; a figure says it."""


def run_verb(argv: list[str]) -> None:
    """Run one verb in this process; the last line of a job says how long, or what failed."""
    with in_one_line():
        stage = importlib.import_module(f"unlearning.stages.{argv[0]}")
        with contextlib.nullcontext() if argv[0] in UNREPORTED else reported():
            stage.main(argv[1:])
