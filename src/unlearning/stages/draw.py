"""draw: run a figure's script with the libraries that the fork server has loaded."""

from __future__ import annotations

import runpy
import sys

from unlearning.files import PROJECT


def main(argv: list[str]) -> None:
    """`python SCRIPT …`: the script imports what lies beside it and says how long it took.

    SCRIPT: a path in the checkout (`figures/ranks.py`), from whatever folder, or an absolute one.
    """
    if not argv or argv[0].startswith("-"):
        sys.exit("usage: unlearning draw SCRIPT [--runs CSV --out STEM]\n\n" + __doc__)
    script = PROJECT / argv[0]
    sys.argv = argv
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
