"""Printed tables as Markdown, LaTeX, HTML and plain text: one list of sections, four texts."""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Section:
    """One printed table: what it is called, what it says, its cells as text, its footnotes.

    The first `left` columns are text and stand to the left.
    """

    title: str
    caption: str
    cells: pd.DataFrame
    notes: list[str]
    left: int = 2


def plus_minus(mean: float, sd: float, places: int) -> str:
    """`0.93 ± 0.01`, rounded to `places`; without a spread the mean alone, without both –."""
    if math.isnan(mean):
        return "–"
    parts = [value for value in (mean, sd) if not math.isnan(value)]
    return " ± ".join(f"{round(value, places):.{max(places, 0)}f}" for value in parts)


def percent(mean: float, sd: float) -> str:
    """A fraction in percent, to one decimal: `71.6 ± 0.4`."""
    return plus_minus(100 * mean, 100 * sd, 1)


def score(mean: float, sd: float) -> str:
    """An AUS, to three decimals: `0.931 ± 0.004`."""
    return plus_minus(mean, sd, 3)


def seconds(mean: float, sd: float) -> str:
    """A time in s, the mean to three significant digits and the spread to the same place."""
    known = math.isfinite(mean) and mean > 0
    exponent = int(f"{mean:.2e}".partition("e")[2]) if known else 0
    return plus_minus(mean, sd, 2 - exponent)


def probability(p: float) -> str:
    """A p value to three decimals; unknown –."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def span(value: float, low: float, high: float, places: int = 3, sign: str = "") -> str:
    """`0.512 [0.480, 0.544]`; a value without an interval alone, nothing known –."""
    if math.isnan(value):
        return "–"
    form = f"{sign}.{places}f"
    ends = "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{ends}"


def markdown(found: list[Section], nothing: str) -> str:
    """The sections as Markdown pipe tables; headers like `A_r^t (%)`, marks as in the text.

    nothing: the sentence that stands there, here and below, if there is no section.
    """
    if not found:
        return f"{nothing}.\n"
    parts = []
    for section in found:
        table = "\n".join(markdown_lines(section))
        notes = "".join(f"\n\n{_md(note)}" for note in section.notes)
        parts.append(f"**{_md(section.title)}.** {_md(section.caption)}\n\n{table}{notes}\n")
    return "\n".join(parts)


def markdown_lines(section: Section) -> list[str]:
    """The pipe table alone: header, rule, and a line a row."""
    cells = section.cells.map(_md).rename(columns=_md)
    align = ["left"] * section.left + ["right"] * (len(cells.columns) - section.left)
    return cells.to_markdown(index=False, disable_numparse=True, colalign=align).split("\n")


def _md(text: str) -> str:
    return re.sub(r"([|*<>`\\])", r"\\\1", text)


def plain(found: list[Section], nothing: str, width: int, most_wanted: list[str]) -> str:
    """The sections as plain text, without their captions, in lines of at most `width`.

    most_wanted: the columns, of which the first stay where `width` is too small for all; at least
    one does. The lines of footnotes are broken.
    """
    if not found:
        return f"{nothing}.\n"
    parts = []
    for section in found:
        wanted = [name for name in most_wanted if name in section.cells]
        while len(wanted) > 1 and _plain_width(section.cells[wanted]) > width:
            wanted.pop()
        cells = section.cells[[name for name in section.cells if name in wanted]]
        lines = [_plain_line(cells, row) for row in [list(cells), *cells.to_numpy().tolist()]]
        lines.insert(1, "-" * min(_plain_width(cells), width))
        notes = [line for note in section.notes for line in textwrap.wrap(note, width)]
        title = textwrap.wrap(section.title, width)
        parts.append("\n".join([*title, "", *lines, *notes]) + "\n")
    return "\n".join(parts)


def _plain_widths(cells: pd.DataFrame) -> list[int]:
    return [max(len(name), *map(len, cells[name])) for name in cells]


def _plain_width(cells: pd.DataFrame) -> int:
    return sum(_plain_widths(cells)) + 2 * (len(cells.columns) - 1)


def _plain_line(cells: pd.DataFrame, row: list[str]) -> str:
    first, *others = zip(row, _plain_widths(cells), strict=True)
    right = (text.rjust(size) for text, size in others)
    return "  ".join([first[0].ljust(first[1]), *right]).rstrip()


def latex(found: list[Section], nothing: str) -> str:
    """The sections as booktabs `table*` environments (needs `\\usepackage{booktabs}`)."""
    if not found:
        return f"{_tex(nothing)}.\n"
    parts = ["% needs \\usepackage{booktabs}"]
    for section in found:
        cells = section.cells.map(_tex).rename(columns=_tex)
        layout = "l" * section.left + "r" * (len(cells.columns) - section.left)
        tabular = cells.to_latex(index=False, escape=False, column_format=layout).rstrip()
        notes = [f"\\par\\smallskip {_tex(note)}" for note in section.notes]
        caption = f"\\caption{{{_tex(section.title)}. {_tex(section.caption)}}}"
        begin = ["\\begin{table*}", "\\centering", caption]
        body = ["\\scriptsize\\setlength{\\tabcolsep}{3pt}", tabular, *notes, "\\end{table*}"]
        parts.append("\n".join(begin + body))
    return "\n".join(parts) + "\n"


SYMBOL = re.compile(r"\b([AD])(?=_(?:or|r|f)\b|\^t\b)(?:_(or|r|f))?(?:\^(t))?\b")
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
    return with_symbols(text, _tex_plain, lambda base: f"${base}$", "_{%s}", "^{%s}")


def _tex_plain(text: str) -> str:
    # Beyond Latin the default fonts have no glyph, and a reason may hold anything.
    return "".join(TEX_SPECIAL.get(c, c if " " <= c <= "ſ" else "?") for c in text)


def _html(text: str) -> str:
    return with_symbols(text, html.escape, str, "<sub>%s</sub>", "<sup>%s</sup>")


def with_symbols(
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
.left1 :is(th, td):nth-child(-n+1), .left2 :is(th, td):nth-child(-n+2) { text-align: left; }
tbody tr:nth-child(even) { background: #f4f4f4; }
.note { font-size: .9em; }
</style>
</head>
<body>
{% for section in sections %}
<h2>{{ section.title | symbols }}</h2>
<p>{{ section.caption | symbols }}</p>
<div class="wide"><table class="left{{ section.left }}">
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


def page(found: list[Section], title: str, nothing: str) -> str:
    """The sections as one HTML page that needs nothing but itself."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["symbols"] = lambda text: Markup(_html(text))
    template = environment.from_string(PAGE)
    return template.render(sections=found, title=title, nothing=nothing) + "\n"
