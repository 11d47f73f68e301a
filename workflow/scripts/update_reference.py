"""Take a finished run into paper/reference/RUN and the README's table and figure from it.

    python workflow/scripts/update_reference.py mini

Copies runs.csv, the tables and the figures, and replaces the text between the README's
marks `<!-- RUN:TABLE -->` and `<!-- end -->` by the Markdown table: no number is typed.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[2]
KEPT = ("runs.csv", "config.json", "tables/*.md", "figures/*.png", "figures/*.csv")


def copy_run(run: str) -> Path:
    """Copy what is kept of results/RUN and return the reference folder."""
    source, target = PROJECT / "results" / run, PROJECT / "paper/reference" / run
    if not (source / "runs.csv").exists():
        raise SystemExit(f"{source}/runs.csv is not there: make the run first")
    shutil.rmtree(target, ignore_errors=True)
    for pattern in KEPT:
        for file in source.glob(pattern):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target


def with_tables(text: str, reference: Path) -> str:
    """`text` with the tables of one reference run between their marks."""
    for file in sorted(reference.glob("tables/*.md")):
        mark = f"<!-- {reference.name}:{file.stem} -->"
        pattern = re.compile(rf"{re.escape(mark)}\n.*?<!-- end -->", re.S)
        table = file.read_text(encoding="utf-8").strip()
        replacement = f"{mark}\n{table}\n<!-- end -->"
        text = pattern.sub(lambda _, new=replacement: new, text)
    return text


def main() -> None:
    """Update the reference of one run and the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    reference = copy_run(parser.parse_args().run)
    readme = PROJECT / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8"), reference), encoding="utf-8")


if __name__ == "__main__":
    main()
