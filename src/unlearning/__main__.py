"""`python -m unlearning VERB …`: every step of the DAG from a shell."""

from __future__ import annotations

import os
import sys

from unlearning.runtime.delegate import delegate, print_utf8

STAGES = os.path.join(os.path.dirname(__file__), "stages")


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
        sys.exit(0 if asked_for_help else 2)
    status = delegate(argv)
    if status is None:
        from unlearning.runtime.job import run_verb  # here: what a server runs starts without it

        run_verb(argv)
    else:
        sys.exit(status)


if __name__ == "__main__":
    print_utf8()
    main(sys.argv[1:])
