"""report: write one self-contained HTML page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from unlearning.files import PROJECT, write_text
from unlearning.report.page import report


def main(argv: list[str]) -> None:
    """Write the page from a run's files and what was made of them."""
    parser = argparse.ArgumentParser(prog="unlearning report", description=__doc__)
    template = PROJECT / "workflow/report/report.html"
    parser.add_argument("--template", default=template, help="the page without its content")
    parser.add_argument("--source", required=True, help="the run: config.json, manifest.csv")
    parser.add_argument("--made", required=True, help="claims.csv, audit.csv, tables/, figures/")
    parser.add_argument("--rulegraph", required=True, help="text of `snakemake --rulegraph`")
    parser.add_argument("--out", required=True, help="the page")
    options = parser.parse_args(argv)
    template, dot = Path(options.template), Path(options.rulegraph)
    write_text(options.out, report(template, Path(options.source), Path(options.made), dot))
