"""draw: run a figure's script with the libraries that the fork server has loaded."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(argv: list[str]) -> None:
    """`python SCRIPT …`: the script imports what lies beside it and says how long it took."""
    if not argv or argv[0].startswith("-"):
        sys.exit("usage: unlearning draw SCRIPT [--runs CSV --out STEM]\n\n" + __doc__)
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).parent))
    runpy.run_path(argv[0], run_name="__main__")
