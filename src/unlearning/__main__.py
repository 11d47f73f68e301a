"""`python -m unlearning VERB …`: every step of the DAG from a shell."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path

from unlearning.clock import reported
from unlearning.failures import in_one_line
from unlearning.forkserver import delegate

STAGES = Path(__file__).parent / "stages"
UNREPORTED = ("compare", "draw", "estimate", "show", "snapshot", "trace", "verify")
"""Verbs that do not end with how long they worked: people ask for them; a figure says it."""


def main(argv: list[str]) -> None:
    """Run one verb; only its own stage is imported."""
    print_utf8()
    verbs = sorted(path.stem for path in STAGES.glob("*.py") if path.stem != "__init__")
    if not argv or argv[0] not in verbs:
        asked_for_help = bool(argv) and argv[0] in ("-h", "--help")
        print("usage: python -m unlearning VERB …\n\nverbs (VERB --help says more):")
        for verb in verbs:
            summary = (STAGES / f"{verb}.py").read_text(encoding="utf-8").splitlines()[0]
            print("  " + summary.strip('"'))
        sys.exit(0 if asked_for_help else 2)
    status = delegate(argv)
    if status is None:
        run_verb(argv)
    else:
        sys.exit(status)


def run_verb(argv: list[str]) -> None:
    """Run one verb in this process; the last line of a job says how long, or what failed."""
    with in_one_line():
        stage = importlib.import_module(f"unlearning.stages.{argv[0]}")
        with contextlib.nullcontext() if argv[0] in UNREPORTED else reported():
            stage.main(argv[1:])


def print_utf8() -> None:
    """Let this process print UTF-8, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
