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
from unlearning.metrics.aus import SCENARIOS
from unlearning.tables import GROUP, nothing, read_runs, scenario_table


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
