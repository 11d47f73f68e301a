"""resolve: write the checked config of a run; later stages read its grid from it."""

from __future__ import annotations

import argparse
import json

from unlearning.files import write_json


def main(argv: list[str]) -> None:
    """Write the config as JSON."""
    parser = argparse.ArgumentParser(prog="unlearning resolve", description=__doc__)
    parser.add_argument("--config", required=True, help="the whole config as JSON")
    parser.add_argument("--out", required=True)
    options = parser.parse_args(argv)
    write_json(options.out, json.loads(options.config))
