"""tabulate_studies: write the studies' tables as CSV, JSON, Markdown, LaTeX and HTML."""

from __future__ import annotations

from unlearning.results.study_files import IDENTITIES
from unlearning.runtime.options import asked
from unlearning.tables.layouts import tabulate_studies


def main(argv: list[str]) -> None:
    """Write the tables of the studies of one run into a folder."""
    files = {kind: f"{kind}.csv" for kind in ("studies", *IDENTITIES)}
    paths = vars(asked(argv, __doc__, "out", **files))
    tabulate_studies(paths, paths.pop("out"))
