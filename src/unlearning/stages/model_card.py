"""model_card: write a card for each original of a run."""

from __future__ import annotations

from pathlib import Path

from unlearning.data.catalogue import catalogue
from unlearning.deposit.cards import cards
from unlearning.files import write_text
from unlearning.runtime.options import verb_parser


def main(argv: list[str]) -> None:
    """Write the cards and print their names."""
    parser = verb_parser(__doc__, "datasets")
    parser.epilog = "python -m unlearning model_card paper/reference/mini --out results/cards"
    parser.add_argument("run", help="the run's folder: config.json, runs.csv, manifest.csv")
    parser.add_argument("--out", required=True, help="folder for the cards")
    options = parser.parse_args(argv)
    for name, text in cards(Path(options.run), catalogue(options.datasets)).items():
        path = Path(options.out, name)
        write_text(path, text)
        print(path)
