"""The Adaptive Unlearning Score of DUCK (arXiv 2312.02052), per run and from means.

AUS = (1 - (a_or - a_t)) / (1 + gap): accuracy kept, divided by the forgetting still
missing. The original model of a class removal scores 1 / (1 + A_f^t); a retrained one
may exceed 1. All accuracies are fractions in [0, 1], never percent.
"""

from __future__ import annotations

import math
from collections.abc import Collection

MeanSd = tuple[float, float]
PAPER_SCENARIOS = ("class_removal", "homogeneous_removal")
CONVENTION = (*PAPER_SCENARIOS, "sample_removal")
"""Those in which the paper's AUS of means can be computed."""
SCENARIOS = (*CONVENTION, "subclass_removal")
"""The scenarios of a grid. Sample removal, of listed images, is scored as homogeneous removal."""
BY_CLASS = ("class_removal", "subclass_removal")
"""Those in which the test images of what is forgotten are measured apart: A_r^t and A_f^t."""


def shown_scenarios(present: Collection[str]) -> list[str]:
    """What tables and figures show: the paper's scenarios, and the others that are `present`."""
    return [name for name in SCENARIOS if name in PAPER_SCENARIOS or name in present]


def aus(test_accuracy: float, original_test_accuracy: float, gap: float) -> float:
    """AUS = (1 - (a_or - a_t)) / (1 + gap), in [0, 2].

    `test_accuracy` is a_t, the unlearned model's, `original_test_accuracy` is a_or, the
    original's on the same images, `gap` >= 0 is the scenario's distance from forgetting.
    Raises ValueError, naming the argument, for anything outside [0, 1] or not a number.
    """
    _check_fraction("test_accuracy", test_accuracy)
    _check_fraction("original_test_accuracy", original_test_accuracy)
    _check_fraction("gap", gap)
    return (1 - (original_test_accuracy - test_accuracy)) / (1 + gap)


def class_removal_aus(retain_test: float, original_retain_test: float, forget_test: float) -> float:
    """AUS of a class removal: a_t = A_r^t, a_or = the original's A_r^t, gap = A_f^t."""
    _check_fraction("retain_test", retain_test)
    _check_fraction("original_retain_test", original_retain_test)
    _check_fraction("forget_test", forget_test)
    return aus(retain_test, original_retain_test, forget_test)


def homogeneous_removal_aus(test: float, original_test: float, forget_train: float) -> float:
    """AUS of a homogeneous removal: a_t = A^t, a_or = the original's A^t, gap = |A_f - A^t|.

    `forget_train` is the accuracy on the forgotten training images: forgotten means as
    good there as on images never seen, and both sides of that count as a gap.
    """
    _check_fraction("test", test)
    _check_fraction("original_test", original_test)
    _check_fraction("forget_train", forget_train)
    return aus(test, original_test, abs(forget_train - test))


def subclass_removal_aus(
    retain_test: float, original_retain_test: float, forget_train: float, forget_test: float
) -> float:
    """AUS of a sub-class removal, ours: a_t = A_r^t, a_or = the original's, gap = |A_f - A_f^t|.

    The super-class stays, so a retrained model still knows many unseen images of the sub-class:
    forgotten means as good on D_f as on these.
    """
    _check_fraction("retain_test", retain_test)
    _check_fraction("original_retain_test", original_retain_test)
    _check_fraction("forget_train", forget_train)
    _check_fraction("forget_test", forget_test)
    return aus(retain_test, original_retain_test, abs(forget_train - forget_test))


def aus_of_means(
    scenario: str, test: MeanSd, original_test: MeanSd, forget: MeanSd
) -> tuple[float, float]:
    """The paper's convention: AUS of the mean accuracies and its propagated error.

    Each argument is (mean, standard deviation) in fractions: `test` A_r^t (class removal)
    or A^t (in the others), `original_test` the same of the original models, `forget`
    A_f^t or A_f (train). With N = 1 - a_or + a_t and D = 1 + gap, to first order:

        sigma_N^2 = sigma_or^2 + sigma_t^2
        sigma_D   = sigma_f                           (class removal)
        sigma_D^2 = sigma_f^2 + sigma_t^2             (in the others)
        sigma^2   = sigma_N^2 / D^2 + N^2 sigma_D^2 / D^4

    As in the paper every term counts as independent, even a_t, which stands in both N
    and D in these. A standard deviation that is not a number (n = 1) gives
    an error that is not a number. Raises ValueError for an unknown scenario, a mean outside
    [0, 1] or a negative standard deviation.
    """
    if scenario not in CONVENTION:
        raise ValueError(f"scenario must be one of {', '.join(CONVENTION)}, not {scenario!r}")
    for name, (mean, sd) in (("test", test), ("original_test", original_test), ("forget", forget)):
        _check_fraction(f"{name} mean", mean)
        if sd < 0:
            raise ValueError(f"{name} standard deviation must not be negative, got {sd!r}")
    (a_t, sd_t), (a_or, sd_or), (a_f, sd_f) = test, original_test, forget
    removal = scenario == "class_removal"
    gap = a_f if removal else abs(a_f - a_t)
    sd_numerator = math.hypot(sd_or, sd_t)
    sd_denominator = sd_f if removal else math.hypot(sd_f, sd_t)
    value = aus(a_t, a_or, gap)
    return value, math.hypot(sd_numerator, value * sd_denominator) / (1 + gap)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:  # also catches NaN, which compares false
        raise ValueError(f"{name} must be a fraction in [0, 1], got {value!r}")
