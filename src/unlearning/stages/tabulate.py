"""tabulate: runs.csv to one table a scenario, as CSV, Markdown, LaTeX and HTML.

The CSV, in full precision, is the table; the three texts are drawn from it and from
nothing else. A cell that is not `ok` keeps its row, its status and a footnote.
"""

from __future__ import annotations

import argparse
import html
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unlearning.files import write_text
from unlearning.metrics.aus import SCENARIOS, aus_of_means
from unlearning.stats import Summary, summarise

REFERENCES = ("original", "oracle")
STATUSES = ("ok", "diverged", "missing", "not_defined")
GROUP = ["experiment", "dataset", "arch"]
CELL = ["split", "train_seed", "split_seed"]
TEXT = [*GROUP, "scenario", "method", "touches", *CELL, "unlearn_seed", "status", "reason"]
OPTIONAL = ("experiment", "touches", "reason", "official_seconds")
ACCURACIES = [
    "retain_train_accuracy",
    "forget_train_accuracy",
    "retain_test_accuracy",
    "forget_test_accuracy",
    "test_accuracy",
]
METRICS = [*ACCURACIES, "aus", "unlearning_seconds", "official_seconds", "peak_memory_mb"]


def read_runs(runs_csv: str | Path) -> pd.DataFrame:
    """Read runs.csv: identities as text ("" where empty), metrics as floats (NaN where empty).

    A file without one of the columns OPTIONAL is read as if that column were empty.
    Raises ValueError, naming the file and the column or the cell, for a missing column, a
    metric that is no number, an accuracy outside [0, 1], an unknown scenario or status, and
    for a cell given twice, which would count double in every mean.
    """
    runs = pd.read_csv(runs_csv, dtype=str, keep_default_na=False)
    for name in OPTIONAL:
        if name not in runs:
            runs[name] = ""
    absent = [name for name in [*TEXT, *METRICS] if name not in runs]
    if absent:
        raise ValueError(f"{runs_csv}: no column {', '.join(absent)}")
    runs = runs[[*TEXT, *METRICS]].copy()
    for name in METRICS:
        try:
            runs[name] = runs[name].replace("", "nan").astype(float)
        except ValueError as error:
            raise ValueError(f"{runs_csv}: column {name}: {error}") from error
    for name, known in (("scenario", SCENARIOS), ("status", STATUSES)):
        strange = sorted(set(runs[name]) - set(known))
        if strange:
            raise ValueError(f"{runs_csv}: {name} {strange[0]!r} is none of {', '.join(known)}")
    for name in ACCURACIES:
        if not runs[name].dropna().between(0, 1).all():
            raise ValueError(f"{runs_csv}: {name} holds a value that is no fraction in [0, 1]")
    identity = [*GROUP, "scenario", "method", *CELL, "unlearn_seed"]
    twice = runs[runs.duplicated(identity)]
    if len(twice):
        cell = ", ".join(f"{key}={value}" for key, value in twice.iloc[0][identity].items())
        raise ValueError(f"{runs_csv}: a cell is given twice: {cell}")
    return runs


def by_method(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each method: original, oracle, then the others as they first appear."""
    names = list(dict.fromkeys(runs["method"]))
    names.sort(key=lambda name: REFERENCES.index(name) if name in REFERENCES else len(REFERENCES))
    return [(name, runs[runs["method"] == name]) for name in names]


def summarise_metric(cells: pd.DataFrame, metric: str) -> Summary:
    """Mean, spread, n and what the spread runs over, of one metric over the `ok` cells."""
    done = cells[cells["status"] == "ok"]
    return summarise(done[metric].tolist(), done)


def status_note(cells: pd.DataFrame) -> str:
    """What became of the cells that are not `ok`: how many, which and why; "" if all are."""
    failed = cells[cells["status"] != "ok"]
    parts = []
    for (status, reason), rows in failed.groupby(["status", "reason"], sort=False):
        count = f"{len(rows)} of {len(cells)} cells" if len(cells) > 1 else "the only cell"
        part = f"{count} {status.replace('_', ' ')}"
        if len(rows) < len(cells):
            part += f": split {_name_cells(rows)}"
        reason = " ".join(reason.split())
        parts.append(f"{part}, reason: {reason}" if reason else part)
    return "; ".join(parts)


def scenario_table(runs: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """One row per (experiment, data set, architecture, method) of `scenario`, full precision.

    Columns: the identity, `touches`, `over`, `n_cells`, `n_ok`, `status` (`ok`, or every other
    status met), `status_note`; per metric `_mean`, `_sd` (ddof 1) and `_n`; `aus_of_means` and
    `aus_of_means_sd` over `aus_of_means_n` cells. Accuracies are fractions, times seconds,
    memory MB. Two experiments never share a mean.
    """
    runs = runs[runs["scenario"] == scenario]
    rows = [
        _method_row(dict(zip(GROUP, key, strict=True)), name, cells, group)
        for key, group in runs.groupby(GROUP, sort=False)
        for name, cells in by_method(group)
    ]
    return pd.DataFrame(rows, columns=_csv_columns(scenario))


def _metrics(scenario: str) -> list[str]:
    absent = {"retain_test_accuracy", "forget_test_accuracy"}
    return [m for m in METRICS if scenario == "class_removal" or m not in absent]


def _csv_columns(scenario: str) -> list[str]:
    facts = ["scenario", "method", "touches", "over", "n_cells", "n_ok", "status", "status_note"]
    metrics = [f"{m}_{part}" for m in _metrics(scenario) for part in ("mean", "sd", "n")]
    return [*GROUP, *facts, *metrics, "aus_of_means", "aus_of_means_sd", "aus_of_means_n"]


def _method_row(key: dict, name: str, cells: pd.DataFrame, group: pd.DataFrame) -> dict:
    scenario = cells["scenario"].iloc[0]
    done = cells[cells["status"] == "ok"]
    summaries = {metric: summarise_metric(cells, metric) for metric in _metrics(scenario)}
    notes = [status_note(cells)]
    for metric, summary in summaries.items():
        if 0 < summary.n < len(done):
            notes.append(f"{metric} known in {summary.n} of {len(done)} cells")
    score, score_sd, score_n = _aus_of_means(scenario, done, group)
    if 0 < score_n < len(done):
        notes.append(f"AUS of means over the {score_n} of {len(done)} cells with an original")
    failed = [status for status in STATUSES[1:] if status in set(cells["status"])]
    row = {
        **key,
        "scenario": scenario,
        "method": name,
        "touches": " / ".join(dict.fromkeys(t for t in cells["touches"] if t)),
        "over": summarise([0.0] * len(done), done).over,
        "n_cells": len(cells),
        "n_ok": len(done),
        "status": ", ".join(failed) or "ok",
        "status_note": "; ".join(note for note in notes if note),
    }
    for metric, summary in summaries.items():
        row[f"{metric}_mean"], row[f"{metric}_sd"] = summary.mean, summary.sd
        row[f"{metric}_n"] = summary.n
    return row | {
        "aus_of_means": score,
        "aus_of_means_sd": score_sd,
        "aus_of_means_n": score_n,
    }


def _aus_of_means(scenario: str, done: pd.DataFrame, group: pd.DataFrame) -> tuple:
    """AUS of mean accuracies, against the originals of the very same cells."""
    removal = scenario == "class_removal"
    test = "retain_test_accuracy" if removal else "test_accuracy"
    forget = "forget_test_accuracy" if removal else "forget_train_accuracy"
    originals = group[(group["method"] == "original") & (group["status"] == "ok")]
    originals = originals.drop_duplicates(CELL)[[*CELL, test]]
    paired = done[[*CELL, test, forget]].merge(originals, on=CELL, suffixes=("", "_original"))
    paired = paired.dropna()
    if paired.empty:
        return math.nan, math.nan, 0
    mean_sd = [
        (part.mean, part.sd)
        for part in (summarise(paired[c].tolist(), {}) for c in (test, f"{test}_original", forget))
    ]
    return *aus_of_means(scenario, *mean_sd), len(paired)


def _name_cells(rows: pd.DataFrame) -> str:
    seeds = rows["unlearn_seed"].replace("", "–")
    return ", ".join(
        f"{split} (training seed {train}, unlearning seed {unlearn})"
        for split, train, unlearn in zip(rows["split"], rows["train_seed"], seeds, strict=True)
    )


@dataclass(frozen=True)
class Section:
    """One printed table: what it is called, what it says, its cells as text, its footnotes."""

    title: str
    caption: str
    cells: pd.DataFrame
    notes: list[str]


def sections(table: pd.DataFrame, scenario: str) -> list[Section]:
    """The printed tables of `scenario_table`, one per experiment, data set and architecture."""
    groups = list(table.groupby(GROUP, sort=False))
    systems = [(dataset, arch) for (_, dataset, arch), _ in groups]
    found = []
    for (experiment, dataset, arch), rows in groups:
        title = f"{scenario.replace('_', ' ').capitalize()}: {dataset}, {arch}"
        if systems.count((dataset, arch)) > 1:
            title += f", experiment {experiment}"
        cells = pd.DataFrame([_printed(row, scenario) for row in rows.to_dict("records")])
        found.append(Section(title, _caption(rows, scenario), cells, _footnotes(rows)))
    return found


def percent(mean: float, sd: float) -> str:
    """A fraction in percent, to one decimal: `71.6 ± 0.4`."""
    return _plus_minus(100 * mean, 100 * sd, 1)


def score(mean: float, sd: float) -> str:
    """An AUS, to three decimals: `0.931 ± 0.004`."""
    return _plus_minus(mean, sd, 3)


def seconds(mean: float, sd: float) -> str:
    """A time in s, the mean to three significant digits and the spread to the same place."""
    known = math.isfinite(mean) and mean > 0
    exponent = int(f"{mean:.2e}".partition("e")[2]) if known else 0
    return _plus_minus(mean, sd, 2 - exponent)


def _plus_minus(mean: float, sd: float, places: int) -> str:
    if math.isnan(mean):
        return "–"
    parts = [value for value in (mean, sd) if not math.isnan(value)]
    return " ± ".join(f"{round(value, places):.{max(places, 0)}f}" for value in parts)


def _printed_columns(scenario: str) -> list[tuple[str, str, Callable[[float, float], str]]]:
    columns = [
        ("A_r (%)", "retain_train_accuracy", percent),
        ("A_f (%)", "forget_train_accuracy", percent),
    ]
    if scenario == "class_removal":
        columns.append(("A_r^t (%)", "retain_test_accuracy", percent))
        columns.append(("A_f^t (%)", "forget_test_accuracy", percent))
    else:
        columns.append(("A^t (%)", "test_accuracy", percent))
    return [*columns, ("AUS", "aus", score), ("Time (s)", "unlearning_seconds", seconds)]


def _printed(row: dict, scenario: str) -> dict[str, str]:
    mark = " †" if row["status_note"] else ""
    lost = row["status"].replace("_", " ") if row["n_ok"] == 0 else ""
    shown = {"Method": row["method"], "Touches": row["touches"] or "–"}
    for header, metric, show in _printed_columns(scenario):
        text = show(row[f"{metric}_mean"], row[f"{metric}_sd"])
        shown[header] = lost or (text if text == "–" else text + mark)
        if metric == "aus":
            text = score(row["aus_of_means"], row["aus_of_means_sd"])
            shown["AUS of means"] = lost or (text if text == "–" else text + mark)
    whole = row["n_ok"] == row["n_cells"]
    shown["n"] = str(row["n_ok"]) if whole else f"{row['n_ok']} of {row['n_cells']}"
    return shown


def _footnotes(rows: pd.DataFrame) -> list[str]:
    noted = rows[rows["status_note"] != ""]
    marks = noted["n_ok"].map(lambda n: "† " if n else "")
    return [
        f"{mark}{method}: {note}."
        for mark, method, note in zip(marks, noted["method"], noted["status_note"], strict=True)
    ]


def _caption(rows: pd.DataFrame, scenario: str) -> str:
    if scenario == "class_removal":
        what = (
            "A_r, A_f: accuracy on the retained and the forgotten training images; "
            "A_r^t, A_f^t: the same on the test images. "
            "AUS = (1 − (A_or − A_r^t)) / (1 + A_f^t), A_or being A_r^t of the original; "
        )
    else:
        what = (
            "A_r, A_f: accuracy on the retained and the forgotten training images; "
            "A^t: on the evaluation half of the test images. "
            "AUS = (1 − (A_or − A^t)) / (1 + |A_f − A^t|), A_or being A^t of the original; "
        )
    return (
        f"{what}it is computed per run and averaged, and AUS of means is the paper's way: from the "
        "mean accuracies, errors propagated as independent. Time: the unlearning steps alone, "
        "without evaluation or saving; for the oracle, its training. "
        f"{_spread(rows)} A value without ± rests on one run; – is not measured. Cells whose "
        "status is not ok are named, never averaged: a word in place of numbers where no cell "
        "is ok, † where some are not."
    )


def _spread(rows: pd.DataFrame) -> str:
    done = rows[rows["n_ok"] > 0]
    if done.empty:
        return "No cell is ok."
    if set(done["over"]) == {"1 run"}:
        return "Every row is one run, without a spread (n = 1)."
    usual = done.loc[done["n_ok"].idxmax()]
    text = f"± is the sample standard deviation over {usual['over']} (n = {usual['n_ok']})"
    others = done[done["over"] != usual["over"]]
    exceptions = [
        f"for {method} over {over} (n = {n})"
        for method, over, n in zip(others["method"], others["over"], others["n_ok"], strict=True)
    ]
    return "; ".join([text, *exceptions]) + "."


def nothing(scenario: str) -> str:
    """The sentence that stands where a scenario has no cell."""
    return f"No {scenario} cell in this run"


def markdown(found: list[Section], scenario: str) -> str:
    """The sections as Markdown pipe tables; headers like `A_r^t (%)`, marks as in the text."""
    if not found:
        return f"{nothing(scenario)}.\n"
    parts = []
    for section in found:
        cells = section.cells.map(_md).rename(columns=_md)
        align = ("left", "left", *["right"] * (len(cells.columns) - 2))
        table = cells.to_markdown(index=False, disable_numparse=True, colalign=align)
        notes = "".join(f"\n\n{_md(note)}" for note in section.notes)
        parts.append(f"**{_md(section.title)}.** {_md(section.caption)}\n\n{table}{notes}\n")
    return "\n".join(parts)


def _md(text: str) -> str:
    return re.sub(r"([|*<>`\\])", r"\\\1", text)


def latex(found: list[Section], scenario: str) -> str:
    """The sections as booktabs `table*` environments (needs `\\usepackage{booktabs}`)."""
    if not found:
        return f"{_tex(nothing(scenario))}.\n"
    parts = ["% needs \\usepackage{booktabs}"]
    for section in found:
        cells = section.cells.map(_tex).rename(columns=_tex)
        layout = "ll" + "r" * (len(cells.columns) - 2)
        tabular = cells.to_latex(index=False, escape=False, column_format=layout).rstrip()
        notes = [f"\\par\\smallskip {_tex(note)}" for note in section.notes]
        caption = f"\\caption{{{_tex(section.title)}. {_tex(section.caption)}}}"
        begin = ["\\begin{table*}", "\\centering", caption]
        body = ["\\scriptsize\\setlength{\\tabcolsep}{3pt}", tabular, *notes, "\\end{table*}"]
        parts.append("\n".join(begin + body))
    return "\n".join(parts) + "\n"


SYMBOL = re.compile(r"\b(A)(?=_(?:or|r|f)\b|\^t\b)(?:_(or|r|f))?(?:\^(t))?\b")
TEX_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "–": "--",
    "−": "$-$",
}


def _tex(text: str) -> str:
    """`text` such that pdfLaTeX prints it: symbols as mathematics, the rest escaped."""
    return _with_symbols(text, _tex_plain, lambda base: f"${base}$", "_{%s}", "^{%s}")


def _tex_plain(text: str) -> str:
    # Beyond Latin the default fonts have no glyph, and a reason may hold anything.
    return "".join(TEX_SPECIAL.get(c, c if " " <= c <= "ſ" else "?") for c in text)


def _html(text: str) -> str:
    return _with_symbols(text, html.escape, str, "<sub>%s</sub>", "<sup>%s</sup>")


def _with_symbols(
    text: str, plain: Callable[[str], str], symbol: Callable[[str], str], below: str, above: str
) -> str:
    """`text` with A_r, A_f^t, … set as symbols and everything between them through `plain`."""
    parts, end = [], 0
    for match in SYMBOL.finditer(text):
        base, sub, sup = match.groups()
        marks = (below % sub if sub else "") + (above % sup if sup else "")
        parts += [plain(text[end : match.start()]), symbol(base + marks)]
        end = match.end()
    return "".join([*parts, plain(text[end:])])


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5em; color: #1a1a1a; background: #fff; }
h2 { font-size: 1.1em; margin: 1.2em 0 .3em; }
p { max-width: 60em; margin: .4em 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid #1a1a1a; margin: .8em 0; }
th { border-bottom: 1px solid #1a1a1a; }
th, td { padding: .25em .7em; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tbody tr:nth-child(even) { background: #f4f4f4; }
.note { font-size: .9em; }
</style>
</head>
<body>
{% for section in sections %}
<h2>{{ section.title | symbols }}</h2>
<p>{{ section.caption | symbols }}</p>
<div class="wide"><table>
<thead><tr>
{%- for name in section.cells.columns %}<th>{{ name | symbols }}</th>{% endfor -%}
</tr></thead>
<tbody>
{% for row in section.cells.values.tolist() %}
<tr>{% for cell in row %}<td>{{ cell | symbols }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% for note in section.notes %}
<p class="note">{{ note | symbols }}</p>
{% endfor %}
{% else %}
<p>{{ nothing }}.</p>
{% endfor %}
</body>
</html>
"""


def page(found: list[Section], scenario: str) -> str:
    """The sections as one HTML page that needs nothing but itself."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["symbols"] = lambda text: Markup(_html(text))
    title = f"{scenario.replace('_', ' ').capitalize()}"
    template = environment.from_string(PAGE)
    return template.render(sections=found, title=title, nothing=nothing(scenario)) + "\n"


def tabulate(runs_csv: str | Path, out_dir: str | Path) -> None:
    """Write `class_removal` and `homogeneous_removal` as .csv, .md, .tex and .html."""
    runs = read_runs(runs_csv)
    for scenario in SCENARIOS:
        table = scenario_table(runs, scenario)
        found = sections(table, scenario)
        stem = Path(out_dir) / scenario
        write_text(stem.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n"))
        write_text(stem.with_suffix(".md"), markdown(found, scenario))
        write_text(stem.with_suffix(".tex"), latex(found, scenario))
        write_text(stem.with_suffix(".html"), page(found, scenario))


def main(argv: list[str]) -> None:
    """Write the tables of one runs.csv into a folder."""
    parser = argparse.ArgumentParser(prog="unlearning tabulate", description=__doc__)
    parser.add_argument("--runs", required=True, help="runs.csv, one row a cell")
    parser.add_argument("--out", required=True, help="folder for the tables")
    options = parser.parse_args(argv)
    tabulate(options.runs, options.out)
