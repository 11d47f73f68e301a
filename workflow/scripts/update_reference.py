"""Copy a finished run into paper/reference/RUN and its tables into README and docs/results.md.

    python workflow/scripts/update_reference.py mini
    python workflow/scripts/update_reference.py mini --redrawn

Copies runs.csv, the manifest, the tables and figures, and the studies' CSV files. Then replaces the
text between `<!-- RUN:TABLE -->` and `<!-- end -->` in PAGES by that table; `<!-- RUN:verdicts -->`
gets the number of claims by verdict, `<!-- RUN:SCENARIO_finished -->` the rows of that scenario's
table of which a cell is finished. With --redrawn the tables, figures and claims come from
results/redrawn/RUN, where `snakemake figures tables audit --config runs=paper/reference/RUN` draws
them from the same CSV files.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import pandas as pd

from unlearning.claims.pages import VERDICTS
from unlearning.claims.pages import section as claims_section
from unlearning.claims.statements import read_claims
from unlearning.claims.verdicts import judge
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.results.findings import FINDINGS
from unlearning.results.runs import read_runs
from unlearning.results.shown import STUDY_FIGURES
from unlearning.tables.layouts import LAYOUTS
from unlearning.tables.render import Section, markdown

PROJECT = Path(__file__).parents[2]
PAGES = (PROJECT / "README.md", PROJECT / "docs/results.md")
"""The documents that show tables of committed runs."""
CLAIMS = PROJECT / "paper/claims.yaml"
EXAMPLE = {"Claim": "For example", "Value [95 %]": "Value [95 %]", "Bound": "Bound", "Unit": "Unit"}
"""Columns of the claims table that the verdict table repeats, and their headers there."""
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
    """Copy results/RUN to paper/reference/RUN and return that folder.

    Results and studies are copied separately; a part that the run has not made stays as it is.
    """
    source, target = PROJECT / "results" / run, PROJECT / "paper/reference" / run
    made = {kind: files(source, kind) for kind in ("results", "studies")}
    if not any(made.values()):
        raise SystemExit(f"{source} has neither runs.csv nor studies.csv: make the run first")
    for kind, found in made.items():
        for file in files(target, kind) if found else []:
            file.unlink()
        for file in found:
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target


def copy_redrawn(run: str) -> Path:
    """Copy redrawn tables, figures and claims over those of the reference folder.

    A figure whose CSV is unchanged keeps its picture.
    """
    source, target = PROJECT / "results/redrawn" / run, PROJECT / "paper/reference" / run
    drawn = [file for file in target.rglob("*") if (source / file.relative_to(target)).is_file()]
    if not drawn:
        raise SystemExit(f"{source} has no file of {target}: redraw the run first")
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
    """The files to keep of a run's `results` or `studies`; empty if that part was not made."""
    marker, patterns = ("runs.csv", RESULTS) if kind == "results" else ("studies.csv", STUDIES)
    if not (folder / marker).exists():
        return []
    found = [file for pattern in patterns for file in folder.glob(pattern)]
    of_studies = {Path(name).stem for name in STUDIES} - {"config"}
    return [file for file in found if kind == "studies" or file.stem not in of_studies]


def with_tables(text: str, reference: Path) -> str:
    """`text` with the tables of one reference run, claims and verdicts included, filled in."""
    for file in sorted(reference.rglob("*.md")):
        text = _filled(text, f"{reference.name}:{file.stem}", file.read_text(encoding="utf-8"))
    for scenario in PAPER_SCENARIOS:
        mark = f"{reference.name}:{scenario}_finished"
        if f"<!-- {mark} -->" in text:
            text = _filled(text, mark, finished_table(reference, scenario))
    mark = f"{reference.name}:verdicts"
    return _filled(text, mark, verdict_table(reference)) if f"<!-- {mark} -->" in text else text


def _filled(text: str, mark: str, table: str) -> str:
    """`text` with `table` between the mark and `<!-- end -->`; unchanged without the mark."""
    pattern = re.compile(rf"<!-- {re.escape(mark)} -->\n.*?<!-- end -->", re.S)
    block = f"<!-- {mark} -->\n{table.strip()}\n<!-- end -->"
    return pattern.sub(lambda _: block, text)


def finished_table(reference: Path, scenario: str) -> str:
    """Markdown: the table of a scenario with the rows alone of which a cell is finished."""
    runs = read_runs(reference / "runs.csv")
    cells = runs[runs["scenario"] == scenario]
    done = cells[cells["status"] != "missing"]
    table = LAYOUTS[scenario].build(done)
    count = f"{len(done)} of {len(cells)} cells of the run are finished; the others are not shown."
    return f"{markdown(table.sections, table.nothing).strip()}\n\n{count}"


def verdict_table(reference: Path) -> str:
    """Markdown: how many claims of a run have each verdict, with the first one as an example."""
    printed = claims_section(judge(read_claims(CLAIMS), reference))
    claims = pd.concat([table.cells for table in printed])
    rows = []
    for verdict in VERDICTS:
        same = claims[claims["Verdict"] == verdict]
        example = same.iloc[0] if len(same) else dict.fromkeys(EXAMPLE, "–")
        shown = {header: example[column] for column, header in EXAMPLE.items()}
        rows.append({"Verdict": verdict, "Claims": str(len(same)), **shown})
    caption = (
        f"{len(claims)} claims of the paper, its release and papers that quote it, asked of the "
        "committed run. Value: mean and 95 % interval of the claim shown as an example."
    )
    title = f"Verdicts: {reference.name}"
    return markdown([Section(title, caption, pd.DataFrame(rows), [], left=3)], "No claim")


def main() -> None:
    """Update the reference of one run and the pages that show it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--redrawn", action="store_true", help="take results/redrawn/RUN")
    options = parser.parse_args()
    reference = (copy_redrawn if options.redrawn else copy_run)(options.run)
    for page in PAGES:
        text = with_tables(page.read_text(encoding="utf-8"), reference)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
