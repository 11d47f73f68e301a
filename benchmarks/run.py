"""Measure: `python benchmarks/run.py [PART …]`; without a part, all of them.

Ends with status 1 if something got slower than the committed RESULTS.md says (guard.py).
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from pathlib import Path

import guard
import here
import results_file

PARTS = ("training", "duck", "measuring", "startup", "planning", "dag", "report", "determinism")


def main(argv: list[str]) -> None:
    """Measure the parts one by one; RESULTS.md is written anew after each."""
    parser = argparse.ArgumentParser(prog="python benchmarks/run.py", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--repetitions", type=int, default=5, help="of each alternative")
    parser.add_argument("--scale", type=float, default=1.0, help="times the images of a repetition")
    parser.add_argument("--config", default="configs/mini.yaml", help="of dag, in the checkout")
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if Path(options.config).is_absolute():
        parser.error("--config is a path in the checkout, not an absolute one")
    command = shlex.join(["python", "benchmarks/run.py", *argv])
    results, before, slower = here.ROOT / "benchmarks" / "RESULTS.md", guard.committed(), []
    for part in options.parts or PARTS:
        facts = here.facts(command)
        print(f"{part} …", flush=True)
        comparisons = importlib.import_module(f"part_{part}").measure(options)
        results_file.keep(here.OUT, part, facts, comparisons)
        results_file.write(here.OUT, PARTS, results)
        slower += guard.slower(before, results.read_text(encoding="utf-8"), part)
    if slower:
        sys.exit("slower than in the committed results:\n" + "\n".join(slower))
    print("nothing is slower than in the committed results")


if __name__ == "__main__":
    main(sys.argv[1:])
