"""Plots of scores, each on an axes of matplotlib, which `pip install .[report]` brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearning.library.scores import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOWEST = 1e-3
"""The smallest false-positive rate that is drawn."""


def plot_roc(scores: Mapping[str, tuple[Any, Any]], axes: Axes | None = None) -> Axes:
    """ROC curves of membership scores, log-log: {name: (members [n], non-members [m])}.

    A larger score means more likely trained on, as in `lira`. Rates below one over the number of
    non-members cannot be resolved and are not drawn. Raises ValueError for an empty side.
    """
    axes = _axes(axes)
    for name, sides in scores.items():
        members, others = (np.sort(np.ravel(plain(side))) for side in sides)
        if not len(members) or not len(others):
            raise ValueError(f"{name}: needs scores of members and of others")
        above = np.arange(1, len(others) + 1)  # non-members at or above each threshold
        missed = np.searchsorted(members, others[::-1])
        axes.plot(above / len(others), 1 - missed / len(members), label=name)
    axes.plot([LOWEST, 1], [LOWEST, 1], color="0.7", linewidth=0.6)
    axes.set(xscale="log", yscale="log", xlim=(LOWEST, 1), ylim=(LOWEST, 1.05))
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    axes.legend()
    return axes


def plot_aus(points: Mapping[str, tuple[Any, Any]], axes: Axes | None = None) -> Axes:
    """AUS against unlearning time: {name: (seconds, AUS)}, numbers or one value a run."""
    axes = _axes(axes)
    for name, (seconds, aus) in points.items():
        axes.plot(np.ravel(plain(seconds)), np.ravel(plain(aus)), "o", label=name)
    axes.set(xscale="log", xlabel="unlearning time (s)", ylabel="AUS")
    axes.legend()
    return axes


def plot_history(histories: Mapping[str, Any], axes: Axes | None = None) -> Axes:
    """Accuracy on the images to forget after each epoch: {name: `Result.history`}."""
    axes = _axes(axes)
    for name, seen in histories.items():
        axes.plot(np.arange(1, len(seen) + 1), plain(seen), "o-", label=name)
    axes.set(xlabel="epoch", ylabel="accuracy on the images to forget", ylim=(0, 1))
    axes.legend()
    return axes


def _axes(axes: Axes | None) -> Axes:
    if axes is not None:
        return axes
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install .[report]") from None
    return Figure(layout="constrained").add_subplot()
