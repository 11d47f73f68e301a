"""Names beside what they name: near its point, or in a column beside the panel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.font_manager import FontProperties
from scipy.optimize import isotonic_regression

SIZE = 5.5  # points
LEADER = {"colors": "#8a8a8a", "linewidths": 0.45}
AWAY = 26  # points from the panel to the names of a column
DISTANCES = (
    0,
    2,
    4,
    7,
    11,
    16,
    22,
    29,
    37,
    46,
    56,
    68,
    82,
    100,
    120,
    145,
)  # from mark to name, points
CROWD, SWEEPS = 40, 4  # points around a point; how often a name may move
TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False)
MARK, PAD, LONG = 3.0, 0.8, 1.5  # points: half a mark, around a name, leaders from there on
COVERED = {"label": 1000.0, "mark": 300.0, "leader": 60.0, "cell": 1.5}  # worth so many points


@dataclass(frozen=True)
class Label:
    """A name, the point that it names in data coordinates, and how the name looks."""

    text: str
    x: float
    y: float
    style: dict = field(default_factory=dict)
    line: str = "#8a8a8a"  # the colour of its leader in a column


def beside(axes: Axes, labels: list[Label], cells: np.ndarray) -> None:
    """Write each label at the free place nearest to its point, joined to it if that is not near.

    Names avoid each other, the points of all labels and, less strictly, `cells` [n, 2] in data
    coordinates. Bold ones choose first, then those in a crowd; then each moves while another
    place is better. The figure must be laid out.
    """
    labels = _in_turn(axes, labels)
    points = _pixels(axes, [(label.x, label.y) for label in labels])
    scale = axes.figure.dpi / 72
    marks = np.hstack([points - MARK * scale, points + MARK * scale])
    dots = _pixels(axes, cells)
    fixed = np.vstack([_weighted(marks, "mark"), _weighted(np.hstack([dots, dots]), "cell")])
    places: list[Place | None] = [None] * len(labels)
    for _ in range(SWEEPS):
        before = list(places)
        for k, label in enumerate(labels):
            others = [place.taken for j, place in enumerate(places) if place and j != k]
            places[k] = _best(axes, points[k], _extent(axes, label), np.vstack([fixed, *others]))
        if before == places:
            break
    for label, place in zip(labels, places, strict=True):
        axes.text(*_data(axes, np.array(place.centre)), label.text, **_text(label))
    leaders = [
        _data(axes, np.array([point, place.end]))
        for point, place in zip(points, places, strict=True)
        if place.joined
    ]
    axes.add_collection(LineCollection(leaders, zorder=2, **LEADER), autolim=False)


@dataclass(frozen=True)
class Place:
    """Where a name stands in pixels, where its leader ends, and what both take up [n, 5]."""

    centre: tuple[float, float]
    end: tuple[float, float]
    joined: bool
    taken: np.ndarray = field(compare=False, repr=False)


def _best(axes: Axes, point: np.ndarray, size: np.ndarray, taken: np.ndarray) -> Place:
    """The cheapest place for a name of `size` pixels, beside what is `taken` [m, 5]."""
    scale = axes.figure.dpi / 72
    boxes, distance = _candidates(point, size, scale)
    ends = np.clip(point, boxes[:, :2], boxes[:, 2:])
    cost = distance / scale + _cost(boxes, taken) + _outside(axes, boxes)
    cost += _crossed(point, ends, taken)
    best = int(np.argmin(np.round(cost, 3)))
    box, end, joined = boxes[best], ends[best], distance[best] >= LONG * scale
    way = _samples(point, ends[[best]])[0][: None if joined else 0]
    own = np.vstack([_weighted(box[None], "label"), _weighted(np.hstack([way, way]), "leader")])
    return Place(tuple((box[:2] + box[2:]) / 2), tuple(end), bool(joined), own)


def _in_turn(axes: Axes, labels: list[Label]) -> list[Label]:
    """The bold ones first, then those with most other points around them."""
    points = _pixels(axes, [(label.x, label.y) for label in labels])
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    crowd = (apart < CROWD * axes.figure.dpi / 72).sum(axis=1)
    order = sorted(range(len(labels)), key=lambda k: ("weight" not in labels[k].style, -crowd[k]))
    return [labels[k] for k in order]


def column(axes: Axes, labels: list[Label], side: str, widest: Label | None = None) -> None:
    """Write the labels one above another beyond the `left` or `right` edge, joined to their points.

    From bottom to top in the order given, each as near to the height of its point as the others
    allow. The panel becomes narrower by their width, or by that of `widest`, which keeps panels
    that stand one above another aligned. The figure must be laid out.
    """
    if not labels:
        return
    scale = axes.figure.dpi / 72
    wide = [widest] if widest else labels
    _narrow(axes, max(_extent(axes, label)[0] for label in wide) + AWAY * scale, side)
    box = axes.bbox
    points = _pixels(axes, [(label.x, label.y) for label in labels])
    heights = spread(points[:, 1], 1.12 * SIZE * scale, box.y0, box.y1)
    edge, sign = (box.x0, -1) if side == "left" else (box.x1, 1)
    align = "right" if side == "left" else "left"
    leaders, colours = [], []
    for label, point, height in zip(labels, points, heights, strict=True):
        place = _data(axes, np.array([edge + sign * AWAY * scale, height]))
        axes.text(*place, label.text, **(_text(label) | {"ha": align}))
        start = edge + sign * (AWAY - 1.5) * scale
        leaders.append(_data(axes, np.array([(start, height), point])))
        colours.append(label.line)
    look = LEADER | {"colors": colours}
    axes.add_collection(LineCollection(leaders, zorder=1.5, clip_on=False, **look), autolim=False)


def _narrow(axes: Axes, pixels: float, side: str) -> None:
    """Take so many pixels from the panel's `left` or `right` side."""
    x, y, width, height = axes.get_position(original=True).bounds
    cut = round(pixels / axes.figure.bbox.width, 6)
    axes.set_position([x + cut if side == "left" else x, y, width - cut, height])


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Ascending places at least `gap` apart, near `wanted`, inside [low, high] if they fit."""
    steps = gap * np.arange(len(wanted))
    return np.clip(isotonic_regression(wanted - steps).x, low, high - steps[-1]) + steps


def _text(label: Label) -> dict:
    place = {"ha": "center", "va": "center", "fontsize": SIZE, "zorder": 6, "in_layout": False}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.2}
    return place | label.style


def _extent(axes: Axes, label: Label) -> np.ndarray:
    """Width and height of the name in pixels, with a margin."""
    scale = axes.figure.dpi / 72
    size = label.style.get("fontsize", SIZE)
    font = FontProperties(size=size, weight=label.style.get("weight", "normal"))
    renderer = axes.figure.canvas.get_renderer()
    width = renderer.get_text_width_height_descent(label.text, font, False)[0]
    return np.array([1.03 * width, 1.15 * size * scale]) + 2 * PAD * scale


def _candidates(point: np.ndarray, size: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] around the point, and the distance of each from its mark in pixels."""
    far, turn = np.meshgrid(np.array(DISTANCES) * scale, TURNS, indexing="ij")
    away = (far + MARK * scale)[..., None] + size / 2
    centre = point + np.stack([np.cos(turn), np.sin(turn)], axis=-1) * away
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=-1).reshape(-1, 4)
    gap = np.linalg.norm(np.clip(point, boxes[:, :2], boxes[:, 2:]) - point, axis=1)
    return boxes, np.maximum(gap - MARK * scale, 0)


def _weighted(boxes: np.ndarray, kind: str) -> np.ndarray:
    """Boxes [n, 4] with what covering each costs as a fifth column."""
    return np.column_stack([boxes, np.full(len(boxes), COVERED[kind])])


def _cost(boxes: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """What each of `boxes` [n, 4] covers of `taken` [m, 5], summed up."""
    over = (boxes[:, None, :2] < taken[None, :, 2:4]) & (boxes[:, None, 2:] > taken[None, :, :2])
    return over.all(axis=-1) @ taken[:, 4]


def _samples(point: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Points [n, 10, 2] on the way from the point to each end, the point itself left out."""
    return point + (ends - point)[:, None] * np.linspace(0.1, 1, 10)[:, None]


def _crossed(point: np.ndarray, ends: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """What the leaders to each end [n, 2] would run through: names, other marks, leaders."""
    own = ((point >= taken[:, :2]) & (point <= taken[:, 2:4])).all(axis=1)
    solid = taken[~own & (taken[:, 4] != COVERED["cell"])]
    width = np.where(solid[:, 4] == COVERED["leader"], 2.0, 0.0)[:, None]  # a leader is thin
    way = _samples(point, ends)[:, :, None]
    hit = ((way > solid[:, :2] - width) & (way < solid[:, 2:4] + width)).all(axis=-1)
    return hit.any(axis=1) @ solid[:, 4] / 4  # a name crossed is still read, one covered is not


def _outside(axes: Axes, boxes: np.ndarray) -> np.ndarray:
    """As much as a covered name for every box that leaves the panel."""
    frame = axes.bbox
    inside = (boxes[:, :2] >= frame.min).all(axis=1) & (boxes[:, 2:] <= frame.max).all(axis=1)
    return np.where(inside, 0.0, 2 * COVERED["label"])


def _pixels(axes: Axes, points: np.ndarray | list) -> np.ndarray:
    return axes.transData.transform(np.reshape(points, (-1, 2)))


def _data(axes: Axes, pixels: np.ndarray) -> np.ndarray:
    return axes.transData.inverted().transform(np.round(pixels, 2))
