"""crate: write a run as a Workflow Run RO-Crate, with its records, logits and models or without."""

from __future__ import annotations

from pathlib import Path

from unlearning.data.catalogue import catalogue
from unlearning.deposit.crate import write_crate
from unlearning.runtime.options import verb_parser


def main(argv: list[str]) -> None:
    """Write the crate of a run as a folder."""
    parser = verb_parser(__doc__, "datasets")
    parser.epilog = "python -m unlearning crate paper/reference/mini --out results/crate-of-mini"
    parser.add_argument("run", help="the run's folder: config.json, runs.csv, manifest.csv")
    parser.add_argument("--made", help="the folder with tables/ and figures/, if another")
    parser.add_argument("--full", action="store_true", help="with records, logits and models")
    parser.add_argument("--out", required=True, help="folder to write")
    options = parser.parse_args(argv)
    run, made = Path(options.run), Path(options.made or options.run)
    write_crate(run, made, Path(options.out), catalogue(options.datasets), options.full)
