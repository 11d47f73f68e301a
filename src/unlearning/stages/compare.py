"""compare: compare two runs of one config bit for bit; times and memory are ignored."""

from __future__ import annotations

import sys
from pathlib import Path

from unlearning.runtime.options import verb_parser
from unlearning.trace.compare import compare

SHOWN = 50
"""Maximum number of differences printed without --all."""


def main(argv: list[str]) -> None:
    """Print what differs, a line each; exit status 1 if anything does, 2 if nothing compares."""
    parser = verb_parser(__doc__)
    parser.epilog = "python -m unlearning compare results/mini paper/reference/mini --shared"
    parser.add_argument("one", help="a run's folder")
    parser.add_argument("other", help="another's")
    parser.add_argument("--shared", action="store_true", help="only files that both have")
    parser.add_argument("--all", action="store_true", help=f"print more than {SHOWN} differences")
    options = parser.parse_args(argv)
    try:
        found = compare(Path(options.one), Path(options.other), options.shared)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    differences = found.differences
    for line in differences if options.all else differences[:SHOWN]:
        print(line)
    if len(differences) > SHOWN and not options.all:
        print(f"… and {len(differences) - SHOWN} more (--all)")
    said = f"{len(differences)} differences" if differences else "no difference"
    left = f", {len(found.only)} files only in one of them" if found.only else ""
    print(f"{said} in {len(found.files)} files that both have ({found.fields} fields of CSV){left}")
    sys.exit(1 if differences else 0)
