"""`python -m unlearning VERB …`: every step of the DAG from a shell."""

from __future__ import annotations

import os
import sys

from unlearning.runtime.delegate import delegate, print_utf8
from unlearning.runtime.surroundings import name_user

LIBRARY = os.path.dirname(os.path.realpath(__file__))
STAGES = os.path.join(LIBRARY, "stages")


def main(argv: list[str]) -> None:
    """Run one verb: by the server of jobs, or here, where only its own stage is imported."""
    verbs = sorted(name[:-3] for name in os.listdir(STAGES) if name.endswith(".py"))
    verbs.remove("__init__")
    if not argv or argv[0] not in verbs:
        asked_for_help = bool(argv) and argv[0] in ("-h", "--help")
        print("usage: python -m unlearning VERB …\n\nverbs (VERB --help says more):")
        for verb in verbs:
            with open(os.path.join(STAGES, f"{verb}.py"), encoding="utf-8") as file:
                print("  " + file.readline().strip('"\n'))
        print(f"\nlibrary: {LIBRARY}")
        sys.exit(0 if asked_for_help else 2)
    warn_of_another_library()
    name_user()
    status = delegate(argv)
    if status is None:
        from unlearning.runtime.job import run_verb  # here: what a server runs starts without it

        run_verb(argv)
    else:
        sys.exit(status)


def warn_of_another_library() -> None:
    """Say on stderr if this is not the library of the checkout that the command is run in."""
    here = os.path.realpath("src/unlearning")
    if os.path.isdir(here) and here != LIBRARY:
        print(f"note: this runs the library in {LIBRARY}, not the one here", file=sys.stderr)


if __name__ == "__main__":
    print_utf8()
    main(sys.argv[1:])
