"""Take a finished run into paper/reference/RUN and the documents' tables from it.

    python workflow/scripts/update_reference.py mini
    python workflow/scripts/update_reference.py mini --redrawn

Copies runs.csv, its manifest, the tables and the figures, and what the studies found, and replaces
the text between the marks `<!-- RUN:TABLE -->` and `<!-- end -->` of the README by the Markdown
table: no number is typed. With --redrawn it takes the tables, figures and claims that the reference
has from results/redrawn/RUN, where `snakemake figures tables audit --config
runs=paper/reference/RUN` drew them again from the same CSV files.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.findings import FINDINGS
from unlearning.results.shown import STUDY_FIGURES

PROJECT = Path(__file__).parents[2]
STUDIES = (
    *("studies.csv", "study_manifest.csv", "config.json"),
    *(f"{name}.csv" for name in FINDINGS),
    *(f"tables/{name}.md" for name in STUDY_TABLES),
    *(f"figures/{name}.png" for name in STUDY_FIGURES),
)
RESULTS = (
    *("runs.csv", "manifest.csv", "roc.csv", "ensembles.csv", "config.json"),
    *("claims.md", "tables/*.md", "figures/*.png", "figures/*.csv"),
)


def copy_run(run: str) -> Path:
    """Copy what is kept of results/RUN and return the reference folder.

    Results and studies each as a whole, if they were made; the other part stays as it is.
    """
    source, target = PROJECT / "results" / run, PROJECT / "paper/reference" / run
    made = {kind: files(source, kind) for kind in ("results", "studies")}
    if not any(made.values()):
        raise SystemExit(f"{source} holds neither runs.csv nor studies.csv: make the run first")
    for kind, found in made.items():
        for file in files(target, kind) if found else []:
            file.unlink()
        for file in found:
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target


def copy_redrawn(run: str) -> Path:
    """Copy what was drawn again over the reference folder's tables, figures and claims.

    A figure whose numbers (its CSV) are the same keeps its picture.
    """
    source, target = PROJECT / "results/redrawn" / run, PROJECT / "paper/reference" / run
    drawn = [file for file in target.rglob("*") if (source / file.relative_to(target)).is_file()]
    if not drawn:
        raise SystemExit(f"{source} holds nothing of {target}: draw the run again first")
    changed = {
        file.with_suffix("")
        for file in drawn
        if file.read_bytes() != (source / file.relative_to(target)).read_bytes()
        and file.suffix != ".png"
    }
    for file in drawn:
        if file.suffix != ".png" or file.with_suffix("") in changed:
            shutil.copyfile(source / file.relative_to(target), file)
    return target


def files(folder: Path, kind: str) -> list[Path]:
    """What is kept of a run's `results` or `studies`; nothing if that part was not made."""
    marker, patterns = ("runs.csv", RESULTS) if kind == "results" else ("studies.csv", STUDIES)
    if not (folder / marker).exists():
        return []
    found = [file for pattern in patterns for file in folder.glob(pattern)]
    of_studies = {Path(name).stem for name in STUDIES} - {"config"}
    return [file for file in found if kind == "studies" or file.stem not in of_studies]


def with_tables(text: str, reference: Path) -> str:
    """`text` with the tables of one reference run, its claims as well, between their marks."""
    for file in sorted(reference.rglob("*.md")):
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
    parser.add_argument("--redrawn", action="store_true", help="take results/redrawn/RUN")
    options = parser.parse_args()
    reference = (copy_redrawn if options.redrawn else copy_run)(options.run)
    readme = PROJECT / "README.md"
    text = with_tables(readme.read_text(encoding="utf-8"), reference)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
