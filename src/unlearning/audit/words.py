"""What grades, verdicts and reasons mean, and how they are counted."""

from __future__ import annotations

import re

import pandas as pd

GRADES = {
    "A": "Data, network and recipe of the original are the paper's: judged.",
    "B": "Data and network are the paper's, the original was trained otherwise: what is relative "
    "to the own original is judged, where it is known how much that moves with the original.",
    "C": "Other data or another network: shown beside, never judged.",
}
VERDICTS = {
    "reproduced": "Ours is within h of the reported number, and h is at most 3 points (0.03).",
    "differs": "Ours is farther from the reported number than h.",
    "not judged": "Ours is shown beside the reported number, and the grade or another reason "
    "forbids a verdict.",
    "not comparable": "There is nothing to compare with, or the comparison would say nothing.",
    "ours not run": "No cell of this run has the number; the command would make it, where a "
    "config has the data set.",
}
JUDGED = ("reproduced", "differs")
REASONS = {
    "no_counterpart": "This project has no such data set, scenario, method or metric, or the "
    "source does not say for certain which it is.",
    "no_config": "Neither this run nor the paper's grid has an experiment on this data set.",
    "not_in_run": "This run has no finished cell of this data set, scenario and method.",
    "not_measured": "The cells are there, but not this metric of them.",
    "other_data": "Grade C: ours is on the data set, or the images, that is named.",
    "other_architecture": "Grade C: ours is of the network that is named.",
    "no_paper_recipe": "Grade C: the paper's grid has no experiment on this data set, so that it "
    "is not written down how the reported models were trained.",
    "other_recipe": "Grade B: our original was trained otherwise, in the settings named.",
    "other_settings": "The method ran with other settings than the published ones: those named.",
    "stand_ins": "Not the published method whole: the settings named stand in for what cannot be "
    "had here.",
    "settings_unstated": "The source does not give the settings named (for this data set, "
    "network and scenario), or none that can be used: a difference may be our guess.",
    "absolute": "Grade B: an original's own number, an absolute accuracy or another metric, which "
    "is not relative to the original.",
    "original_unreported": "No accuracy of the original is reported for this data set and "
    "scenario: the number cannot be put relative to it.",
    "original_not_run": "This run lacks the plain original that the number is relative to.",
    "plain_original": "The published score rests on the plain original, ours in runs.csv on the "
    "method's own: the quantity judged is ours on the plain one.",
    "originals_unknown": "Grade B: this run does not measure how much the quantity moves with the "
    "original: it needs the method on two originals of other recipes, with the same forget sets.",
    "originals_elsewhere": "How much the quantity moves with the original was measured on the data "
    "set named, not on this one.",
    "moves_with_original": "Grade B: the quantity moves with the original by more than 3 points "
    "(0.03): by the half-width named.",
    "other_hardware": "Seconds and memory depend on the machine, which the paper does not name; of "
    "seconds the ratio to DUCK's is shown.",
    "machines": "The times are not known to be of one machine: as many as named.",
    "too_few_methods": "An order needs three methods that both sides have.",
    "left_out": "Methods that are reported and not in the order of ours.",
    "none_ok": "No cell came to an end that could be averaged.",
    "some_not_ok": "Some cells are not ok and not in the mean.",
    "one_forget_set": "Ours rests on one forget set, the reported mean on ten: the spread between "
    "forget sets is unknown.",
    "too_uncertain": "Ours is within h, but h is more than 3 points (0.03); named is how many more "
    "classes or forget sets would settle it if spreads stay as they are.",
    "one_original": "Ours has fewer than two training seeds with every forget set. The interval "
    "is Student's over forget sets, and h leaves out what another training seed changes: a small "
    "difference may be that alone.",
    "spread_unknown": "No spread is reported; it is taken to be ours.",
    "no_spread": "No spread is reported, and all of ours are equal: how far means of other forget "
    "sets would lie from ours is not known.",
}
"""What the code words in the column `reason` mean."""
DETAIL = re.compile(r"(none_ok|some_not_ok): (.*)", re.DOTALL)


def shown(reason: str) -> str:
    """The reason without the names of the cells that are not ok."""
    return DETAIL.sub(r"\1", reason)


def codes(reason: str) -> str:
    """The code words of a reason, without what each names."""
    return "; ".join(part.partition(":")[0] for part in shown(reason).split("; "))


def sentence(text: str) -> str:
    """The text with a capital first."""
    return text[:1].upper() + text[1:]


def tally(rows: pd.DataFrame) -> str:
    """`grade A: 2 reproduced, 1 differs; no grade: 3 not comparable`, from rows of audit.csv.

    Judged numbers whose settings the source does not give are counted apart.
    """
    unstated = rows["reason"].str.contains("settings_unstated", regex=False)
    apart = unstated & rows["verdict"].isin(JUDGED)
    parts = []
    for grade in (*GRADES, ""):
        for guessed in (False, True):
            counts = rows.loc[(rows["grade"] == grade) & (apart == guessed), "verdict"]
            counts = counts.value_counts()
            said = [f"{counts[name]} {name}" for name in VERDICTS if name in counts]
            head = f"grade {grade}" if grade else "no grade"
            head += " with settings that the source does not give" if guessed else ""
            parts += [f"{head}: {', '.join(said)}"] if said else []
    return "; ".join(parts)
