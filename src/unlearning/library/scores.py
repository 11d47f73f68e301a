"""Scores as plain functions of tensors or arrays; docs/metrics.md says what each is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from unlearning.metrics import aus as aus_scores
from unlearning.metrics import membership, oracle_distance, representation, roc


def accuracy(logits: Any, labels: Any) -> float:
    """Share in [0, 1] of images whose label has the largest logit: [N, K] and labels [N].

    Raises ValueError for no image and for other shapes.
    """
    logits, labels = plain(logits), plain(labels)
    if np.ndim(logits) != 2 or np.shape(labels) != (len(logits),) or not len(logits):
        raise ValueError(
            f"expected logits [N, K] and labels [N] with N > 0, got {np.shape(logits)} and "
            f"{np.shape(labels)}"
        )
    return float((logits.argmax(1) == labels).mean())


def plain(value: Any) -> Any:
    """A tensor as an array, one of a single value as a number; anything else as it is."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
        return value if value.ndim else value.item()
    return value


def on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose arrays may be tensors as well."""

    @functools.wraps(function)
    def call(*values: Any, **named: Any) -> Any:
        return function(*map(plain, values), **{name: plain(v) for name, v in named.items()})

    return call


aus = on_tensors(aus_scores.aus)
class_removal_aus = on_tensors(aus_scores.class_removal_aus)
homogeneous_removal_aus = on_tensors(aus_scores.homogeneous_removal_aus)
logit_confidence = on_tensors(membership.logit_confidence)
lira = on_tensors(membership.lira)
lira_offline = on_tensors(membership.lira_offline)
roc_auc = on_tensors(roc.roc_auc)
roc_auc_error = on_tensors(roc.roc_auc_error)
true_positive_rates = on_tensors(roc.true_positive_rates)
balanced_accuracy = on_tensors(roc.balanced_accuracy)
svc_attack = on_tensors(membership.svc_attack)
u_lira = on_tensors(membership.u_lira)
u_lira_worst_case = on_tensors(membership.u_lira_worst_case)
jensen_shannon = on_tensors(oracle_distance.jensen_shannon)
l2_distance = on_tensors(oracle_distance.l2_distance)
agreement = on_tensors(oracle_distance.agreement)
klom = on_tensors(oracle_distance.klom)
linear_cka = on_tensors(representation.linear_cka)
linear_probe = on_tensors(representation.linear_probe)
