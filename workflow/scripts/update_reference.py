"""Take a finished run into paper/reference/RUN and the documents' tables from it.

    python workflow/scripts/update_reference.py mini

Copies runs.csv, the tables and the figures, and what the studies found, and replaces the text
between the marks `<!-- RUN:TABLE -->` and `<!-- end -->` of README and DEVIATIONS by the Markdown
table: no number is typed. Of a run that ablates `duck` it also writes the table `effects`.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import pandas as pd

from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.stages.gather import FINDINGS
from unlearning.stats import summarise
from unlearning.tables import CELL, read_runs

PROJECT = Path(__file__).parents[2]
STUDY_FIGURES = (
    *("density", "destinations", "embedding_maps", "attributions", "attribution_maps"),
    *("shortcut", "multiple_classes", "ablation", "architectures"),
)
STUDIES = (
    *("studies.csv", "config.json"),
    *(f"{name}.csv" for name in FINDINGS if name != "attribution_maps"),  # a row a pixel
    *(f"tables/{name}.md" for name in STUDY_TABLES),
    *(f"figures/{name}.png" for name in STUDY_FIGURES),
)
RESULTS = (
    *("runs.csv", "roc.csv", "ensembles.csv", "config.json"),
    *("tables/*.md", "figures/*.png", "figures/*.csv"),
)
DOCUMENTS = ("README.md", "paper/DEVIATIONS.md")


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


def files(folder: Path, kind: str) -> list[Path]:
    """What is kept of a run's `results` or `studies`; nothing if that part was not made."""
    marker, patterns = ("runs.csv", RESULTS) if kind == "results" else ("studies.csv", STUDIES)
    if not (folder / marker).exists():
        return []
    found = [file for pattern in patterns for file in folder.glob(pattern)]
    of_studies = {Path(name).stem for name in STUDIES} - {"config"}
    return [file for file in found if kind == "studies" or file.stem not in of_studies]


def effects(runs: pd.DataFrame, baseline: str = "duck") -> str:
    """A Markdown table: AUS of each method but the references, and its paired change.

    The change is the mean over the cells (forget set and training seed) that the method
    shares with `baseline`, with the sample standard deviation of those differences.
    """
    lines = ["| Method | " + " | ".join(f"{_name(s)}: AUS | change" for s in SCENARIOS) + " |"]
    lines.append("|:--" + "|--:|--:" * len(SCENARIOS) + "|")
    names = [n for n in dict.fromkeys(runs["method"]) if n not in ("original", "oracle")]
    for name in names:
        cells = [_effect(runs[runs["scenario"] == s], name, baseline) for s in SCENARIOS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _name(scenario: str) -> str:
    return scenario.replace("_", " ")


def _effect(runs: pd.DataFrame, name: str, baseline: str) -> str:
    """AUS and change in one scenario, as two table cells."""
    done = runs[runs["status"] == "ok"]
    mine, base = (done[done["method"] == n][[*CELL, "aus"]] for n in (name, baseline))
    if mine.empty:
        return "– | –"
    score = summarise(mine["aus"].tolist(), mine)
    if name == baseline:
        return f"{score.mean:.3f} ± {score.sd:.3f} (n = {score.n}) | –"
    paired = mine.merge(base, on=CELL, suffixes=("", "_base"))
    change = summarise((paired["aus"] - paired["aus_base"]).tolist(), paired)
    return (
        f"{score.mean:.3f} ± {score.sd:.3f} (n = {score.n})"
        f" | {change.mean:+.3f} ± {change.sd:.3f} (n = {change.n})"
    )


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
    """Update the reference of one run and the documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    reference = copy_run(parser.parse_args().run)
    if reference.name.endswith("_ablation"):
        table = effects(read_runs(reference / "runs.csv"))
        (reference / "tables/effects.md").write_text(table, encoding="utf-8")
    for name in DOCUMENTS:
        document = PROJECT / name
        text = with_tables(document.read_text(encoding="utf-8"), reference)
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
