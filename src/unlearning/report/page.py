"""The report: one HTML page with a run's claims, audit, tables, figures and provenance.

It is made from files alone and shows what they print; a template lays it out.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.audit.words import codes, sentence, tally
from unlearning.claims.pages import CAPTION
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.files import read_json
from unlearning.frames import Schema, read_table
from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import STUDY_TABLES
from unlearning.report import rulegraph
from unlearning.results.manifest import read_manifest, trace_id
from unlearning.tables.evaluation import LAYOUTS
from unlearning.tables.render import probability, seconds

TABLES = (*SCENARIOS, *LAYOUTS, *STUDY_TABLES)
"""The order of the tables; others follow by name."""
FIGURES = {
    "aus_vs_time": (
        "AUS against time",
        "What each method keeps and forgets, as AUS, against the seconds of its unlearning.",
    ),
    "accuracies": (
        "Accuracies",
        "On retained and forgotten images, training and test, beside the oracle's.",
    ),
    "ranks": (
        "Ranks",
        "Average ranks of AUS over classes or forget sets with the critical difference: methods "
        "that a bar joins are not told apart by them.",
    ),
    "roc": (
        "ROC curves of LiRA",
        "Log-log, each method's mean: who leaks membership at low false-positive rates.",
    ),
    "density": (
        "Density",
        "How densely the forgotten and the retained classes lie in feature space, model by model.",
    ),
    "destinations": (
        "Destinations",
        "Where the forgotten images go: the nearest centroid before and after, and the oracle's.",
    ),
    "embedding_maps": (
        "Maps of the embeddings",
        "Where the forgotten images lie, before and after unlearning.",
    ),
    "attributions": (
        "Attributions",
        "How alike the explanations are: correlations of SHAP maps, image by image.",
    ),
    "attribution_maps": (
        "Maps of attributions",
        "Which pixels speak for the forgotten class and for the assigned one, in each model.",
    ),
    "shortcut": (
        "A shortcut unlearned",
        "What models predict on patched and on clean images, and where they look.",
    ),
    "multiple_classes": (
        "Many classes at once",
        "Accuracies and AUS against the number of classes removed.",
    ),
    "ablation": (
        "Ablation",
        "What DUCK reaches without one of its parts, or with another value of a setting.",
    ),
    "architectures": (
        "Architectures",
        "AUS and accuracies of DUCK beside original, oracle and Fine-Tuning on each.",
    ),
}
"""The order of the figures, their titles and captions; others follow by name, without a caption."""

LIMIT = 300_000
"""Bytes: a larger SVG is shown as PNG, a larger CSV is left out."""

TONES = {
    "holds": "good",
    "reproduced": "good",
    "does not hold": "bad",
    "does not discriminate": "open",
    "differs": "bad",
    "not told apart": "open",
    "not comparable": "open",
}
"""How a verdict is coloured; others are grey."""

TRACED = ["experiment", "scenario", "method"]


@dataclass(frozen=True)
class Sheet:
    """A table of the page, its cells as text or markup.

    The first `left` columns are text and stand to the left; `wrapped` ones break their lines.
    Those under a header that ends in "verdict" can be chosen from.
    """

    id: str
    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    left: int = 1
    wrapped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Result:
    """A table of the run: its printed parts, or the sentence that stands there if it is empty."""

    name: str
    title: str
    sheets: list[Sheet]
    nothing: str
    numbers: str


@dataclass(frozen=True)
class Figure:
    """A figure of the run: the image and its numbers as data URIs."""

    name: str
    title: str
    caption: str
    image: str
    numbers: str


def report(template: Path, source: Path, made: Path, dot: Path) -> str:
    """The page as text.

    source: the run's folder with config.json, manifest.csv and, if it has studies,
    study_manifest.csv. made: the folder with claims.csv, audit.csv, tables/ and figures/. dot: the
    text of `snakemake --rulegraph`. Raises ValueError, naming the file and what is wrong, for a
    file that is missing or not as it should be.
    """
    for path in (source / "config.json", source / "manifest.csv", template, dot):
        _present(path)
    grid = read_manifest(source / "manifest.csv")
    beside = source / "study_manifest.csv"
    manifest = pd.concat([grid, read_manifest(beside)]) if beside.is_file() else grid
    claims = _read(made / "claims.csv", CLAIMS)
    audit = _read(made / "audit.csv", AUDIT)
    traced = set(manifest[TRACED].itertuples(index=False, name=None))
    try:
        graph = dot.read_text(encoding="utf-8")
        needs = rulegraph.needs(graph)
    except ValueError as error:
        raise ValueError(f"{dot}: {error}") from error
    drawing = rulegraph.drawing(graph).encode()
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(
        run=run_facts(read_json(source / "config.json"), grid, manifest),
        claims=claims_sheet(claims, traced),
        claim_counts=counts(claims, ["verdict"]),
        audit=audit_sheet(audit, traced),
        audit_counts=counts_sheet(audit),
        results=results(made / "tables", traced),
        figures=figures(made / "figures"),
        drawing=_as_uri(drawing, "image/svg+xml") if drawing else "",
        needs=needs,
        times=times_sheet(manifest),
        software=software_sheet(manifest),
        groups=trace_groups(manifest, trace_words(source, made)),
    )


def _present(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file as text, "" where empty."""
    _present(path)
    return read_table(path, Schema(columns))


def counts(frame: pd.DataFrame, columns: list[str]) -> list[tuple]:
    """Each combination of values with how often it is there, the most frequent first."""
    found = frame.groupby(columns, sort=True).size().sort_values(ascending=False, kind="stable")
    return [(*(key if isinstance(key, tuple) else (key,)), n) for key, n in found.items()]


def run_facts(config: dict[str, Any], grid: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, Any]:
    """What the first paragraph and the list of seeds and commits say.

    grid: the manifest's rows of runs.csv; manifest: with those of the studies.
    """
    ran = manifest[manifest["record"] != ""]
    systems = grid[["dataset", "arch"]].drop_duplicates().itertuples(index=False, name=None)
    studies = dict.fromkeys(e["study"] for e in config["experiments"] if e.get("study"))
    return {
        "name": config["run"],
        "partial": bool(config.get("partial")),
        "mixed_code": bool(config.get("mixed_code")),
        "taken": ran.loc[ran["adopted_from"] != "", "adopted_from"].value_counts().to_dict(),
        "systems": list(systems),
        "scenarios": _distinct(grid["scenario"]),
        "methods": grid["method"].nunique(),
        "cells": len(grid),
        "study_cells": len(manifest) - len(grid),
        "statuses": counts(grid, ["status"]),
        "studies": [_said(name) for name in studies],
        "splits": _distinct(grid["split"]),
        "train_seeds": _distinct(grid["train_seed"]),
        "unlearn_seeds": _distinct(grid["unlearn_seed"]),
        "ran": len(ran),
        "commits": counts(ran, ["commit"]),
        "dirty": int((ran["dirty"] == "True").sum()),
        "data": counts(ran, ["dataset", "data_sha256"]),
        "devices": counts(ran, ["device", "machine"]),
        "days": sorted(set(ran["started"].str[:10])),
        "seconds": duration(ran["seconds"].sum()),
    }


def _distinct(column: pd.Series) -> list[str]:
    """The values of a column, "" left out, in natural order: 2 before 10."""

    def natural(text: str) -> list:
        return [(part.isdigit(), part.zfill(20)) for part in re.split(r"(\d+)", text)]

    return sorted(set(column) - {""}, key=natural)


def duration(s: float) -> str:
    """Seconds as `1 h 02 min`, `2 min 05 s` or `7.3 s`."""
    if s < 60:
        return f"{s:.1f} s"
    minutes, rest = divmod(round(s), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _link(text: str, key: tuple[str, ...], traced: set[tuple]) -> str:
    """`text`, which leads to the cells of `key` if the manifest has them."""
    if key not in traced:
        return text
    return Markup('<a href="#{}">{}</a>').format(trace_id(*key), text)


def _traces(text: str, traced: set[tuple]) -> str:
    """Links to the space-separated `experiment/scenario/method`; many are folded."""
    keys = [tuple(part.split("/")) for part in text.split()]
    shown = [key[-1] if key in traced else "/".join(key) for key in keys]
    links = Markup(", ").join(map(_link, shown, keys, itertools.repeat(traced)))
    if len(keys) < 4:
        return links
    return Markup("<details><summary>{} methods</summary>{}</details>").format(len(keys), links)


def verdict(text: str) -> Markup:
    """A verdict as a coloured label."""
    tone = TONES.get(text, "grey")
    return Markup('<span class="verdict {}">{}</span>').format(tone, text)


def _number(text: str, show: Callable[[float], str] = "{:.4g}".format) -> str:
    """A number to four significant digits, or as `show` has it; – where there is none."""
    try:
        return show(float(text))
    except ValueError:
        return text or "–"


def _interval(row: dict[str, str], name: str, of: str = "") -> str:
    return f"{_number(row[name])} {_ends(row[f'{of}low'], row[f'{of}high'])}".rstrip()


def _control(row: dict[str, str]) -> str:
    """The verdict on the original in the method's place with its interval, or why there is none."""
    if not row["control_value"]:
        return row["control"] or "–"
    return f"{row['control']}: {_interval(row, 'control_value', 'control_')}"


def _ends(low: str, high: str) -> str:
    """The ends of an interval; "" where there is none."""
    return f"[{_number(low)}, {_number(high)}]" if low else ""


def _said(text: str) -> str:
    return text.replace("_", " ")


def _place(row: dict[str, str]) -> str:
    parts = (_said(row["scenario"]), row["dataset"], row["arch"])
    return ", ".join(part for part in parts if part) or "–"


def claims_sheet(claims: pd.DataFrame, traced: set[tuple]) -> Sheet:
    """A row a claim and place that it was asked of."""
    headers = ["Statement", "Verdict", "Asked of", "Value [95 %]", "Bound", "Unit", "n"]
    headers += ["Generalises to", "p", "Test", "Original"]
    headers += ["Quantity", "Reason", "Source", "Cells", "Claim"]
    rows = [
        [
            row["statement"],
            verdict(row["verdict"]),
            _place(row),
            _interval(row, "value"),
            _number(row["bound"]),
            row["unit"],
            row["n"] or "–",
            row["over"] or "–",
            _number(row["p"], probability),
            row["test"],
            _control(row),
            row["quantity"],
            row["reason"],
            row["source"],
            _traces(row["trace"], traced),
            row["claim"],
        ]
        for row in claims.to_dict("records")
    ]
    wrapped = (0, 2, 7, 10, 11, 12, 13, 14)
    return Sheet("claims-table", "Claims", headers, rows, CAPTION, left=3, wrapped=wrapped)


def audit_sheet(audit: pd.DataFrame, traced: set[tuple]) -> Sheet:
    """A row a reported number, ours beside it."""
    headers = ["Row", "Reported in", "Data set", "Scenario", "Method", "Metric", "Verdict", "Grade"]
    headers += ["Reported", "Ours [95 %]", "Judged", "Difference", "h", "n", "Reason"]
    headers += ["Cells or command"]
    headers += ["Exactness", "± over"]
    rows = [
        [
            row["row"],
            ", ".join(row[name] for name in ("source", "version", "table_or_figure") if row[name]),
            row["dataset"],
            _said(row["scenario"]),
            row["method"],
            row["metric"],
            verdict(row["verdict"]),
            row["grade"] or "–",
            " ± ".join(part for part in (row["reported"], row["spread"]) if part),
            _interval(row, "ours"),
            _quantity(row),
            _number(row["difference"]),
            _number(row["h"]),
            row["n"] or "–",
            row["reason"],
            _traces(row["trace"], traced) if row["trace"] else _command(row["command"]),
            row["exactness"],
            row["spread_over"] or "–",
        ]
        for row in audit.to_dict("records")
    ]
    wrapped = (1, 3, 4, 5, 10, 14, 15, 16, 17)
    caption = f"{sentence(tally(audit))}."
    return Sheet("audit-table", "Reported numbers", headers, rows, caption, 8, wrapped)


def _quantity(row: dict[str, str]) -> str:
    """What is judged where it is not the number as printed: its name, reported and ours."""
    if row["quantity"] in ("", row["metric"]):
        return "–"
    sides = _number(row["reported_quantity"]), _number(row["our_quantity"])
    return f"{row['quantity']}: {sides[0]}, ours {sides[1]}"


def _command(text: str) -> str:
    if not text:
        return "–"
    fold = "<details><summary>command</summary><code>{}</code></details>"
    return Markup(fold).format(text)


def counts_sheet(audit: pd.DataFrame) -> Sheet:
    """How many reported numbers have each grade and verdict, and why."""
    found = counts(audit.assign(reason=audit["reason"].map(codes)), ["grade", "verdict", "reason"])
    rows = [[grade or "–", verdict(name), why or "–", str(n)] for grade, name, why, n in found]
    headers = ["Grade", "Verdict", "Reason", "Numbers"]
    return Sheet("audit-counts", "Grades, verdicts and reasons", headers, rows, left=3)


def results(folder: Path, traced: set[tuple]) -> list[Result]:
    """The tables of a folder, as their HTML pages print them; methods lead to their cells."""
    found = []
    for path in _in_order(folder.glob("*.csv"), TABLES):
        page = path.with_suffix(".html")
        _present(page)
        printed = _Printed(path.stem)
        printed.feed(page.read_text(encoding="utf-8"))
        table = read_table(path)
        sheets = [_linked(sheet, table, traced) for sheet in printed.sheets()]
        found.append(Result(path.stem, printed.title, sheets, printed.nothing, _numbers(path)))
    return found


def _in_order(paths: Iterable[Path], names: Iterable[str]) -> list[Path]:
    places = {name: place for place, name in enumerate(names)}
    return sorted(paths, key=lambda path: (places.get(path.stem, len(places)), path.stem))


class _Printed(HTMLParser):
    """Reads a page of `render.page` back: text, subscripts and superscripts, nothing else."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.title = self.nothing = ""
        self._parts: list[dict[str, Any]] = []
        self._text: list[Markup] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("class") or ""
        if tag in ("sub", "sup"):
            self._text.append(Markup(f"<{tag}>"))
        elif tag in ("title", "h2", "p", "th", "td"):
            self._text = []
            self._note = kind == "note"
        elif tag == "table":
            self._parts[-1]["left"] = int(kind.removeprefix("left"))
        elif tag == "tr":
            self._parts[-1]["rows"].append([])

    def handle_data(self, data: str) -> None:
        self._text.append(escape(data))

    def handle_endtag(self, tag: str) -> None:
        text = Markup("").join(self._text)
        if tag in ("sub", "sup"):
            self._text.append(Markup(f"</{tag}>"))
        elif tag == "title":
            self.title = text
        elif tag == "h2":
            self._parts.append({"title": text, "caption": "", "rows": [], "notes": [], "left": 1})
        elif tag in ("th", "td"):
            self._parts[-1]["rows"][-1].append(text)
        elif tag == "p" and not self._parts:
            self.nothing = text
        elif tag == "p" and self._note:
            self._parts[-1]["notes"].append(text)
        elif tag == "p":
            self._parts[-1]["caption"] = text

    def sheets(self) -> list[Sheet]:
        """The tables of the page."""
        return [
            Sheet(
                id=f"{self.name}-{number}",
                title=part["title"],
                headers=part["rows"][0],
                rows=part["rows"][1:],
                caption=part["caption"],
                notes=part["notes"],
                left=part["left"],
            )
            for number, part in enumerate(self._parts, start=1)
        ]


def _linked(sheet: Sheet, table: pd.DataFrame, traced: set[tuple]) -> Sheet:
    """The sheet with a link from each method to its cells, if its title names one experiment."""
    keys = {key for key in _places(table) if _names(sheet.title, key)}
    columns = [n for n, name in enumerate(sheet.headers) if name in ("Method", "Variant")]
    if len(keys) != 1 or not columns:
        return sheet
    experiment, scenario, *_ = keys.pop()
    rows = [list(row) for row in sheet.rows]
    for row in rows:
        text = row[columns[0]]
        row[columns[0]] = _link(text, (experiment, scenario, Markup(text).unescape()), traced)
    return Sheet(**{**vars(sheet), "rows": rows})


def _places(table: pd.DataFrame) -> set[tuple[str, str, str, str]]:
    names = ["experiment", "scenario", "dataset", "arch"]
    if not set(names) <= set(table):
        return set()
    return set(table[names].itertuples(index=False, name=None))


def _names(title: str, place: tuple[str, str, str, str]) -> bool:
    """Whether a table's title names the data set and model, and no other scenario or experiment."""
    experiment, scenario, dataset, arch = place
    parts = {part.strip() for part in re.split("[:,]", Markup(title).unescape())}
    scenarios = {name for name in SCENARIOS if _said(name) in {part.lower() for part in parts}}
    experiments = {part for part in parts if part.startswith("experiment ")}
    return (
        {dataset, arch} <= parts
        and scenarios <= {scenario}
        and experiments <= {f"experiment {experiment}"}
    )


def figures(folder: Path) -> list[Figure]:
    """The figures of a folder: SVG, or PNG where that is too large to inline."""
    found = []
    for path in _in_order(folder.glob("*.svg"), FIGURES):
        image, kind = path, "image/svg+xml"
        if path.stat().st_size > LIMIT:
            image, kind = path.with_suffix(".png"), "image/png"
            _present(image)
        title, caption = FIGURES.get(path.stem, (_said(path.stem).capitalize(), ""))
        numbers = _numbers(path.with_suffix(".csv"))
        found.append(Figure(path.stem, title, caption, _data_uri(image, kind), numbers))
    return found


def _numbers(path: Path) -> str:
    """A CSV file as a data URI; "" if it is absent or too large."""
    fits = path.is_file() and path.stat().st_size <= LIMIT
    return _data_uri(path, "text/csv") if fits else ""


def _data_uri(path: Path, kind: str) -> str:
    return _as_uri(path.read_bytes(), kind)


def _as_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def times_sheet(manifest: pd.DataFrame) -> Sheet:
    """Seconds by method: in all, on average, the shortest and the longest."""
    headers = ["Experiment", "Scenario", "Method", "Jobs", "Total (s)", "Mean (s)"]
    headers += ["Shortest (s)", "Longest (s)"]
    traced = set(manifest[TRACED].itertuples(index=False, name=None))
    rows = []
    for key, cells in manifest[manifest["record"] != ""].groupby(TRACED, sort=False):
        own = cells["seconds"].dropna()
        found = [own.sum(min_count=1), own.mean(), own.min(), own.max()]
        shown = [seconds(value, float("nan")) for value in found]
        rows.append([key[0], _said(key[1]), _link(key[2], key, traced), str(len(cells)), *shown])
    return Sheet("times-table", "Seconds by method", headers, rows, left=3)


def software_sheet(manifest: pd.DataFrame) -> Sheet:
    """Each package with its versions and how many records name them, one line a version."""
    ran = manifest[manifest["record"] != ""]
    versions = [_versions(*row) for row in ran[["record", "software"]].to_numpy()]
    names = sorted({name for found in versions for name in found})
    rows = []
    for name in names:
        own = pd.Series([found.get(name, "not there") for found in versions]).value_counts()
        agree = "" if len(own) == 1 else Markup('<span class="verdict bad">records differ</span>')
        rows += [[name, version, str(n), agree] for version, n in sorted(own.items())]
    headers = ["Package", "Version", "Records", "Agreement"]
    if all(not row[-1] for row in rows):
        headers, rows = headers[:-1], [row[:-1] for row in rows]
    return Sheet("software-table", "Software", headers, rows, left=2)


def _versions(record: str, text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"manifest: {record}: software is not a JSON object: {error}") from error


def trace_words(source: Path, made: Path) -> Callable[[tuple[str, str, str]], str]:
    """The `python -m unlearning trace` command for a key of TRACED: of its AUS, or its strength.

    What is inside of models has no row of its own a method: there the command lists the rows.
    """
    experiments = read_json(source / "config.json")["experiments"]
    studies = {one.get("name"): one.get("study") for one in experiments}
    other = [] if made == source else ["--made", made.as_posix()]

    def command(key: tuple[str, str, str]) -> str:
        experiment, scenario, method = key
        study = studies.get(experiment)
        words = [study or scenario, f"experiment={experiment}"]
        if study in ("multiple_classes", "ablation", "architectures", None):
            words += [f"scenario={scenario}", f"method={method}", "aus"]
        elif study == "shortcut":
            words += [f"method={method}", "strength"]
        words = [source.as_posix(), *words, *other]
        return shlex.join(["python", "-m", "unlearning", "trace", *words])

    return command


def trace_groups(
    manifest: pd.DataFrame, command: Callable[[tuple[str, str, str]], str]
) -> list[dict[str, Any]]:
    """The cells of each experiment, scenario and method, in the manifest's order."""
    return [
        {
            "id": trace_id(*key),
            "key": key,
            "cells": cells.to_dict("records"),
            "command": command(key),
        }
        for key, cells in manifest.groupby(TRACED, sort=False)
    ]
