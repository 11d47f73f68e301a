"""typeset: make the paper as PDF from the tables and figures of a run.

Everything that the document reads is copied into one folder, which is Typst's root: the document
with its parts and the files next to it, the run's figures, and `run.json` with quotes, tables and
settings.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from unlearning.config.blocks import Variant
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.hyperparameters import defined
from unlearning.files import PROJECT, whole, write_json
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.plan.checks import resolved
from unlearning.report import quotes
from unlearning.report.facts import recipe
from unlearning.results import display
from unlearning.results.manifest import recorded_settings
from unlearning.results.runs import read_runs, status_note
from unlearning.tables.render import probability, span
from unlearning.tables.table import Table

BESIDE = ("references.bib", "deviations.csv")
"""What the document reads from its own folder, beside its parts in Typst."""


def printed(table: Table) -> list[dict[str, Any]]:
    """The printed sections of a table: title, caption, header, rows, notes."""
    return [
        {
            "title": part.title,
            "caption": part.caption,
            "notes": part.notes,
            "left": part.left,
            "header": [column.header for column in part.columns],
            "rows": [[quotes.typographic(cell.text) for cell in row] for row in part.rows],
        }
        for part in table.parts
    ]


def settings_rows(
    config: RunConfig, recorded: Mapping[tuple[str, str, str], dict]
) -> list[list[str]]:
    """Method, where it is used and its settings as text, of all that is no reference.

    recorded: as `recorded_settings`; what has no record there has the settings that the files of
    `configs/methods` give it now. Equal settings of one method stand in one row, with every
    experiment and scenario (CR, HR, SR) that has them.
    """
    places: dict[tuple[str, str], dict[str, list[str]]] = {}
    for experiment in config.experiments:
        for scenario, short, variant in _listed(experiment):
            known = short == "SR" or defined(variant.method, scenario)
            if variant.method in (*REFERENCES, *ORIGINALS) or not known:
                continue
            settings = recorded.get((experiment.label, scenario, variant.name))
            settings = settings or resolved(experiment, variant, scenario)
            text = ", ".join(f"{key} {_said(value)}" for key, value in sorted(settings.items()))
            where = places.setdefault((variant.name, text), {})
            where.setdefault(experiment.label, []).append(short)
    return [
        [name, "; ".join(f"{label} ({', '.join(kinds)})" for label, kinds in where.items()), text]
        for (name, text), where in places.items()
    ]


def _listed(experiment: Experiment) -> Iterator[tuple[str, str, Variant]]:
    """Each scenario, its short name and each variant that some part lists for it, once."""
    shorts = ("CR", "HR", "list", "sub-class", "SR")
    for scenario, short in zip((*SCENARIOS, "shortcut_removal"), shorts, strict=True):
        parts = [one for one in experiment.listed if getattr(one.scenarios, scenario) is not None]
        for variant in {one.name: one for part in parts for one in part.variants}.values():
            yield scenario, short, variant


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def recipe_rows(config: RunConfig) -> list[list[str]]:
    """Experiments, data set, architectures, training seeds and recipe of all models.

    Experiments that share all of these but the architecture stand in one row.
    """
    found: dict[tuple, list[Experiment]] = {}
    for experiment in config.experiments:
        key = (experiment.dataset, tuple(experiment.train_seeds), experiment.training)
        found.setdefault((key[0], key[1], recipe(key[2])), []).append(experiment)
    return [
        [
            ", ".join(e.label for e in same),
            dataset,
            ", ".join(dict.fromkeys(e.arch for e in same)),
            ", ".join(map(str, seeds)),
            text,
        ]
        for (dataset, seeds, text), same in found.items()
    ]


def contents(source: Path, made: Path) -> dict[str, Any]:
    """All that the document shows of a run, but its figures, as one JSON value."""
    tables, config = quotes.read_tables(made), quotes.read_config(source)
    return {
        "quotes": {name: one.text for name, one in quotes.quotes(source, tables).items()},
        "parts": quotes.parts(tables),
        "names": display.METHODS | display.DATASETS | display.ARCHITECTURES | display.SCENARIOS,
        "figures": sorted(path.stem for path in (made / "figures").glob("*.svg")),
        "tables": {name: printed(tables[name]) for name in (*quotes.ALWAYS, *STUDY_TABLES)},
        "settings": settings_rows(config, recorded_settings(source)),
        "recipes": recipe_rows(config),
        "audit": audit_rows(tables["audit"].frame),
        "claims": claim_rows(tables["claims"].frame),
    }


def claim_rows(claims: pd.DataFrame) -> list[list[str]]:
    """Statement, scenario, value [interval], n, for what, p and verdict of each claim."""
    found = []
    for row in claims.to_dict("records"):
        ends = [float(row[name] or "nan") for name in ("value", "low", "high")]
        value = f"{span(*ends)} {row['unit']}" if row["value"] else "–"
        why = f" ({row['reason']})" if row["reason"] else ""
        scenario, p = row["scenario"].replace("_", " "), probability(float(row["p"] or "nan"))
        reach = [row["n"] or "–", row["over"] or "–"]
        found.append([row["statement"], scenario, value, *reach, p, row["verdict"] + why])
    return [[quotes.typographic(text) for text in row] for row in found]


def audit_rows(audit: pd.DataFrame) -> list[list[str]]:
    """What was reported, what this run has, grade and verdict, of each row of audit.csv.

    The difference is of the quantity that is judged. Our numbers have as many decimals as the
    reported one, and one at least.
    """
    found = []
    for row in audit.to_dict("records"):
        places = max(1, len(row["reported"].partition(".")[2]))
        ours = f"{float(row['ours']):.{places}f}" if row["ours"] else "–"
        change = f"{float(row['difference']):+.{places}f}" if row["difference"] else "–"
        reported = row["reported"] + (f" ± {row['spread']}" if row["spread"] else "")
        names = [row[key] for key in ("dataset", "scenario", "method", "metric")]
        reason = row["reason"].replace("_", " ")
        judged = row["grade"] or "–", row["verdict"], reason
        found.append([*names, reported, ours, row["quantity"] or "–", change, *judged])
    return [[quotes.typographic(text) for text in row] for row in found]


def prepare(document: Path, source: Path, made: Path, root: Path) -> Path:
    """Put all that the document reads into the folder `root`, and return the document there."""
    named = (document, *(document.with_name(name) for name in BESIDE))
    for file in {*named, *document.parent.glob("*.typ")}:
        shutil.copy(file, root / file.name)
    write_json(root / "run.json", contents(source, made))
    (root / "figures").mkdir()
    for figure in sorted((made / "figures").glob("*.svg")):
        shutil.copy(figure, root / "figures")
    return root / document.name


def fonts() -> dict[str, Any]:
    """Which fonts Typst may use: matplotlib's, for figures that look the same on every machine."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return {"font_paths": [str(folder)], "ignore_system_fonts": True}


def typeset(document: Path, source: Path, made: Path, out: Path) -> list[str]:
    """Write the PDF, whole or not at all, and return Typst's warnings.

    Raises ValueError with Typst's message and the cells that are not ok if the document asks for
    what the run lacks, and FileNotFoundError for a file that is missing.
    """
    import typst

    with tempfile.TemporaryDirectory() as root:
        text = prepare(document, source, made, Path(root))
        try:
            pdf, warnings = typst.compile_with_warnings(
                str(text), root=root, format="pdf", **fonts()
            )
        except typst.TypstError as error:
            reason = (error.diagnostic or error.message).replace(f"{root}/", "")
            missing = re.search(r"no number named [^:\s]+", reason)
            if missing:
                reason = missing[0] + lost_cells(read_runs(source / "runs.csv"))
            raise ValueError(f"{document}: {reason}") from error
    with whole(out) as temporary:
        temporary.write_bytes(pdf)
    return [warning.message for warning in warnings]


def lost_cells(runs: pd.DataFrame) -> str:
    """Why a number may be missing: the methods of the text of which no cell is ok."""
    lost = []
    for (scenario, method), cells in runs.groupby(["scenario", "method"], sort=False):
        if method in ("duck", *REFERENCES) and not (cells["status"] == "ok").any():
            lost.append(f"{method} in {scenario.replace('_', ' ')}: {status_note(cells)}")
    if not lost:
        return " in this run: it was not measured, or its rows are missing"
    return f" ({'; '.join(lost)}): change these settings, or make `snakemake report` without paper"


def main(argv: list[str]) -> None:
    """Typeset the document of one run."""
    parser = argparse.ArgumentParser(prog="unlearning typeset", description=__doc__)
    document = PROJECT / "paper/paper.typ"
    parser.add_argument("--document", default=document, type=Path, help="the document, for Typst")
    parser.add_argument("--source", required=True, type=Path, help="the folder with runs.csv")
    parser.add_argument(
        "--made", required=True, type=Path, help="the folder with tables, figures, audit, claims"
    )
    parser.add_argument("--out", required=True, type=Path, help="the PDF to write")
    options = parser.parse_args(argv)
    for warning in typeset(options.document, options.source, options.made, options.out):
        print(f"warning: {warning}")
