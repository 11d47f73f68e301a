"""The figures of the page, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIGURES = {
    "aus_vs_time": (
        "AUS against time",
        "AUS against the seconds of unlearning; upper left is better. A triangle at the edge is a "
        "mean below the axis, with its value.",
    ),
    "accuracies": (
        "Accuracies",
        "On retained and forgotten images, training and test, beside the oracle's.",
    ),
    "sensitivity": (
        "Sensitivity",
        "What AUS hangs on: the original that is unlearned, with its accuracy, and DUCK's own "
        "settings; each panel over the forget sets that all its rows have.",
    ),
    "ranks": (
        "Ranks",
        "Average ranks of AUS; methods joined by a bar are not told apart.",
    ),
    "roc": (
        "ROC curves of LiRA",
        "LiRA's ROC curves, log-log, each method's mean; each name is joined to where its curve "
        "begins.",
    ),
    "density": (
        "Density",
        "Log density of removed (filled, hatched) and other classes (open), model by model.",
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
        "Accuracies and AUS against the number of classes removed; names at the line ends.",
    ),
    "ablation": (
        "Ablation",
        "DUCK without one part or with another value; dashed: DUCK itself; ◂: left of the axis.",
    ),
    "architectures": (
        "Architectures",
        "AUS (left) and accuracies (right; open: forgotten) of DUCK and its references.",
    ),
}
"""The order of the figures, their titles and captions; others follow by name, without a caption."""

LIMIT = 300_000
"""Bytes: a larger SVG is shown as PNG, a larger CSV is left out."""


@dataclass(frozen=True)
class Figure:
    """A figure of the run: the image and its numbers as data URIs."""

    name: str
    title: str
    caption: str
    image: str
    numbers: str


def figures(folder: Path) -> list[Figure]:
    """The figures of a folder: SVG, or PNG where that is too large to inline."""
    found = []
    for path in in_order(folder.glob("*.svg"), FIGURES):
        image, kind = path, "image/svg+xml"
        if path.stat().st_size > LIMIT:
            image, kind = path.with_suffix(".png"), "image/png"
            present(image)
        title, caption = FIGURES.get(path.stem, (path.stem.replace("_", " ").capitalize(), ""))
        numbers = as_download(path.with_suffix(".csv"))
        found.append(Figure(path.stem, title, caption, _data_uri(image, kind), numbers))
    return found


def in_order(paths: Iterable[Path], names: Iterable[str]) -> list[Path]:
    """The paths in the order of their names; others follow by name."""
    places = {name: place for place, name in enumerate(names)}
    return sorted(paths, key=lambda path: (places.get(path.stem, len(places)), path.stem))


def as_download(path: Path) -> str:
    """A CSV file as a data URI; "" if it is absent or too large."""
    fits = path.is_file() and path.stat().st_size <= LIMIT
    return _data_uri(path, "text/csv") if fits else ""


def _data_uri(path: Path, kind: str) -> str:
    return as_uri(path.read_bytes(), kind)


def as_uri(content: bytes, kind: str) -> str:
    """A data URI of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def present(path: Path) -> None:
    """Raise ValueError, naming the file, if it is not there."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
