"""Every public name: a function for each method, scores and plots as plain functions.

Its names, their arguments and their results are stable from one minor version to the next; all
else in this package may change (docs/library.md). Methods are found by their modules.
"""

from __future__ import annotations

import functools
import pkgutil
from typing import Any

from unlearning import methods
from unlearning.library.plots import plot_aus, plot_history, plot_roc
from unlearning.library.scores import (
    accuracy,
    agreement,
    aus,
    balanced_accuracy,
    class_removal_aus,
    homogeneous_removal_aus,
    jensen_shannon,
    klom,
    l2_distance,
    linear_cka,
    linear_probe,
    lira,
    lira_offline,
    logit_confidence,
    roc_auc,
    roc_auc_error,
    svc_attack,
    true_positive_rates,
    u_lira,
    u_lira_worst_case,
)
from unlearning.library.unlearn import Result, function, predict

METHODS = [
    module.name
    for module in pkgutil.iter_modules(methods.__path__)
    if module.name not in ("base", *methods.REFERENCES, *methods.ORIGINALS)
]
"""The methods, by name."""

__all__ = [
    "METHODS",
    "Result",
    "accuracy",
    "agreement",
    "aus",
    "balanced_accuracy",
    "class_removal_aus",
    "homogeneous_removal_aus",
    "jensen_shannon",
    "klom",
    "l2_distance",
    "linear_cka",
    "linear_probe",
    "lira",
    "lira_offline",
    "logit_confidence",
    "plot_aus",
    "plot_history",
    "plot_roc",
    "predict",
    "roc_auc",
    "roc_auc_error",
    "svc_attack",
    "true_positive_rates",
    "u_lira",
    "u_lira_worst_case",
]
__all__ += METHODS


@functools.cache
def __getattr__(name: str) -> Any:
    """The function of a method."""
    if name in METHODS:
        return function(name)
    raise AttributeError(f"unlearning has no {name!r}; it has: {', '.join(sorted(__all__))}")
