"""AUS against unlearning time as inline SVG: each point a link that says what it stands for."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from unlearning.report import labels
from unlearning.report.points import Panel, Point, target

INK, SOFT, LINE, DUCK, REST = "#010101", "#020202", "#030303", "#040404", "#050505"
COLOURS = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    DUCK: "var(--accent)",
    REST: "var(--link)",
}
"""Stand-ins that matplotlib draws with, and the page's colours, light or dark, in their place."""
SHAPES = {"": "s", "retain": "^", "forget": "v", "retain forget": "o"}
OTHER = "D"
LEGEND = "▲ reads retained data, ▼ forgotten, ● both, ◆ other data as well, ■ does nothing"
IDLE, UNKNOWN = 0.05, 0.94  # where points without a time stand, as parts of the width
SIZE = (7.9, 4.1)  # inches of 72 units
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "svg.fonttype": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


def drawing(panel: Panel, traced: set[tuple]) -> Markup:
    """The panel as an SVG element; equal points, equal bytes."""
    with rc_context(STYLE | {"svg.hashsalt": panel.id}):
        figure = Figure(SIZE, dpi=72)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.075, 0.115, 0.905, 0.865))
        _draw(axes, panel)
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return _inline(text.getvalue(), panel, traced)


def _draw(axes: Axes, panel: Panel) -> None:
    _axes(axes, panel.points)
    low, high = axes.get_ylim()
    places = [(_x(axes, point), point.aus.mean) for point in panel.points]
    for k, (point, (x, y)) in enumerate(zip(panel.points, places, strict=True)):
        colour = _colour(point)
        bar = [min(max(end, low), high) for end in (point.aus.low, point.aus.high)]
        if bar[0] < bar[1]:
            axes.plot([x, x], bar, color=colour, lw=1, clip_on=False, gid=f"bar-{k}")
        loud = point.method in ("duck", "original", "oracle")
        marker = "*" if point.method == "oracle" else SHAPES.get(point.touches, OTHER)
        size = {"*": 12}.get(marker, 8 if loud else 5.5)
        look = {"marker": marker, "ms": size, "mec": "none", "color": colour}
        axes.plot([x], [y], clip_on=False, gid=f"mark-{k}", zorder=4, **look)
    names = [
        labels.Label(point.name, *place, _name(point))
        for point, place in zip(panel.points, places, strict=True)
    ]
    labels.beside(axes, names, places)


def _name(point: Point) -> dict:
    loud = point.method in ("duck", "original", "oracle")
    colour = DUCK if point.method == "duck" else INK if loud else SOFT
    return {"color": colour, "fontsize": 8, "bbox": None} | ({"weight": "bold"} if loud else {})


def _colour(point: Point) -> str:
    return {"duck": DUCK, "oracle": INK, "original": SOFT}.get(point.method, REST)


def _axes(axes: Axes, points: list[Point]) -> None:
    """A log axis of seconds, with a place to its left for no time and one for unknown times."""
    times = [point.seconds.mean for point in points if point.seconds] or [1.0]
    means = [point.aus.mean for point in points]
    idle = any(point.idle for point in points)
    unknown = any(not point.idle and not point.seconds for point in points)
    step = max((max(times) / min(times)) ** 0.1, 1.5)
    low, high = min(times) / step, max(times) * step
    axes.set_xscale("log")
    axes.set_xlim(low / step ** (2 * idle), high * step ** (2 * unknown))
    room = max(0.08 * (max(means) - min(means)), 0.01)
    axes.set_ylim(min(means) - room, max(means) + room)
    axes.set_xlabel("unlearning time (s)")
    axes.set_ylabel("AUS (1: perfect)")
    axes.grid(True)
    axes.tick_params(length=0)
    ticks = LogLocator(10, subs=(1, 2, 5) if high / low < 300 else (1,)).tick_values(low, high)
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for there, edge, place, name in (
        (idle, low, IDLE, "none"),
        (unknown, high, UNKNOWN, "not known"),
    ):
        if there:
            axes.axvline(edge, color=SOFT, lw=0.7)
            look = {"ha": "center", "va": "top", "color": SOFT, "transform": axes.transAxes}
            axes.text(place, -0.017, name, **look)
    for point in points:
        if point.method in ("original", "oracle"):
            axes.axhline(point.aus.mean, color=SOFT, lw=0.6, ls="--", zorder=1)


def _x(axes: Axes, point: Point) -> float:
    """Where a point stands: at its time, or in one of the two places beside the axis."""
    low, high = axes.get_xlim()
    if point.seconds:
        return point.seconds.mean
    return low * (high / low) ** (IDLE if point.idle else UNKNOWN)


def _inline(svg: bytes, panel: Panel, traced: set[tuple]) -> Markup:
    """Matplotlib's SVG for the inside of a page: own ids, the page's colours, points as links."""
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _plain(element.tag)
        element.attrib = {_plain(k): _own(k, v, panel.id) for k, v in element.attrib.items()}
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"class": "points", "role": "group", "aria-label": f"Plot: {panel.title}"}
    for number, point in enumerate(panel.points):
        _link(root, f"{panel.id}-", number, point, traced)
    text = ElementTree.tostring(root, encoding="unicode")
    for stand_in, colour in COLOURS.items():
        text = text.replace(stand_in, colour)
    return Markup(re.sub(r"\n\s*", "\n", text))


def _plain(name: str) -> str:
    """A tag or attribute without its namespace, which HTML does not need."""
    return name.rpartition("}")[2]


def _own(name: str, value: str, prefix: str) -> str:
    """An attribute's value with the ids in it made the panel's own."""
    if _plain(name) == "id":
        return f"{prefix}-{value}"
    if value.startswith("#") and _plain(name) == "href":
        return f"#{prefix}-{value[1:]}"
    return re.sub(r"url\(#", f"url(#{prefix}-", value)


def _link(
    root: ElementTree.Element, prefix: str, number: int, point: Point, traced: set[tuple]
) -> None:
    """Put a point's mark and interval into a link to its cells that says what they are."""
    parents = {child: parent for parent in root.iter() for child in parent}
    mark = _by_id(root, f"{prefix}mark-{number}")
    bar = _by_id(root, f"{prefix}bar-{number}")
    home = parents[mark]
    place = list(home).index(mark)
    attributes = {"class": f"point {point.method if point.method == 'duck' else 'other'}"}
    attributes |= {"aria-label": point.said}
    if point.key in traced:
        attributes["href"] = f"#{target(point)}"
    else:
        attributes |= {"role": "img", "tabindex": "0"}
    link = ElementTree.Element("a", attributes)
    ElementTree.SubElement(link, "title").text = point.said
    home.insert(place, link)
    home.remove(mark)
    if bar is not None:
        parents[bar].remove(bar)
        bar.set("class", "bar")
        link.append(bar)
    for use in _uses(mark):
        circle = {"cx": use.get("x", "0"), "cy": use.get("y", "0"), "r": "9", "class": "hit"}
        ElementTree.SubElement(link, "circle", circle)
    link.append(mark)


def _uses(mark: ElementTree.Element) -> Iterable[ElementTree.Element]:
    return list(mark.iter("use"))


def _by_id(root: ElementTree.Element, wanted: str) -> ElementTree.Element | None:
    return next((element for element in root.iter() if element.get("id") == wanted), None)
