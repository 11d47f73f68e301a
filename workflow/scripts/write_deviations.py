"""Write paper/DEVIATIONS.md and paper/deviations.csv from paper/deviations.yaml and the runs.

    python workflow/scripts/write_deviations.py

The decisions are written by hand in the YAML file; what each is worth is measured here, from the
committed runs RUNS.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from unlearning.claims.deviations import (
    BASELINE,
    NOT_MEASURED,
    NOTHING,
    PARTS,
    Decision,
    change,
    measure,
    read_decisions,
    table,
)
from unlearning.files import write_text
from unlearning.metrics.aus import PAPER_SCENARIOS
from unlearning.stats.crossed import ALPHA
from unlearning.tables.render import probability, score

PROJECT = Path(__file__).parents[2]
SOURCE = Path("paper/deviations.yaml")
RUNS = tuple(
    Path("paper/reference", run)
    for run in (
        "mini_ablation/runs.csv",
        "mini/studies.csv",
        "fashion/runs.csv",
        "fashion/studies.csv",
    )
)
HEADERS = {
    "decision": "decision",
    "paper": "paper's algorithm",
    "release": "release",
    "here": "here",
}
HEADERS |= {"switch": "switch"} | {
    name: f"{name.replace('_', ' ')}: AUS" for name in PAPER_SCENARIOS
}

INTRO = """\
# Where paper, release and this code differ

Written by `python workflow/scripts/write_deviations.py` from `paper/deviations.yaml`, where each
decision is written by hand, and from the runs under `paper/reference/`; do not edit. The same
as a table to read in: `paper/deviations.csv`.

Each row is a decision that can move a number. "Paper" is what abstract, first figure, README and
the quoted results say, as the paper's full text was not at hand: *not known* is what these leave
open. "Release" is the authors' public code; where it had several states, the row says which. Of a
competitor they are its own paper and its authors' code. D-numbers count the release's known
departures from its algorithm. Switches are settings of `duck_released` or of a config. Why it was
decided so stands below each table.
"""
READING = f"""\
## How to read the effects

The columns of AUS say what turning the switch away from this code's choice does: the mean paired
difference to `{BASELINE}` over the same forget sets and training seeds, with its 95 % interval and
the number n of pairs. The interval is the more cautious of Student's over forget sets and over
training seeds, and n is small: an interval with 0 in it says that an effect of its size would not
have been seen, not that there is none. A star marks a difference that stays
below {ALPHA} after Holm's correction over all measured changes of its scenario. *{NOTHING}*:
the choice cannot move AUS in that scenario, by construction. *{NOT_MEASURED}*: no run has it.
"""
CONTROL = """\
### The control

Each name has an unlearning seed of its own. So where a switch does nothing, the change is what
that seed alone moves:
"""
RERUN = """\
## Measure again

```bash
snakemake --cores 2 --configfile configs/mini_ablation.yaml
python workflow/scripts/update_reference.py mini_ablation
python workflow/scripts/write_deviations.py
```

`configs/mini_ablation.yaml` runs DUCK, the release's DUCK (last and first state), and DUCK with one
switch on at a time, all with DUCK's settings. The other effects come from the study `ablation` of
`snakemake understanding` (`configs/mini.yaml`, `configs/fashion.yaml`) and from the grid on full
Fashion-MNIST. All methods of the ablation beside each other:
[class removal](reference/mini_ablation/tables/class_removal.md),
[homogeneous removal](reference/mini_ablation/tables/homogeneous_removal.md),
[statistics](reference/mini_ablation/tables/statistics.md).
"""


def documents(project: Path) -> dict[Path, str]:
    """The text of each file to write, by its path below `project`, whose files are read."""
    decisions = read_decisions(project / SOURCE)
    measured = measure(decisions, [project / path for path in RUNS])
    frame = table(decisions, measured)
    return {
        SOURCE.with_name("DEVIATIONS.md"): markdown(decisions, frame, measured),
        SOURCE.with_suffix(".csv"): frame.to_csv(index=False, lineterminator="\n"),
    }


def markdown(decisions: Sequence[Decision], frame: pd.DataFrame, measured: pd.DataFrame) -> str:
    """The document: a table and the reasons for each part, then what was measured."""
    parts = [INTRO]
    for part in PARTS:
        rows = frame[frame["part"] == part]
        reasons = [f"- *{row.decision}*: {row.reason}" for row in rows.itertuples()]
        shown = _pipes(rows[list(HEADERS)].rename(columns=HEADERS))
        parts.append("\n".join([f"## {part}\n", shown, "Why:\n", *reasons, ""]))
    return "\n".join([*parts, READING, _measured(measured), _control(decisions, measured), RERUN])


def _measured(measured: pd.DataFrame) -> str:
    """Every measured change with its p, and how many are told apart."""
    rows = [
        {
            "method": row.method,
            "data set": row.dataset,
            "scenario": row.scenario.replace("_", " "),
            "AUS": f"{score(row.aus, row.aus_sd)} (n = {row.aus_n})",
            f"less {BASELINE}": change(row),
            "± of the differences": "–" if pd.isna(row.sd) else f"{row.sd:.3f}",
            "Holm p": probability(row.p_holm),
        }
        for row in measured.itertuples()
    ]
    apart = list(dict.fromkeys(measured.loc[measured["p_holm"] < ALPHA, "method"]))
    verdict = f"Told apart from `{BASELINE}`: {', '.join(apart) or 'none'}."
    return f"## What the switches are worth\n\n{_pipes(pd.DataFrame(rows))}\n{verdict}\n"


def _control(decisions: Sequence[Decision], measured: pd.DataFrame) -> str:
    """What switches that do nothing move, by the seed alone, and which changes exceed that."""
    lines = [CONTROL]
    for control in _controls(decisions, measured):
        rivals = measured[
            (measured["scenario"] == control.scenario)
            & (measured["experiment"] == control.experiment)
            & (measured["method"] != control.method)
        ]
        beyond = rivals.loc[rivals["difference"].abs() > control.sd, "method"]
        lines.append(
            f"- {control.method}, {control.scenario.replace('_', ' ')}: {change(control)}, ± "
            f"{control.sd:.3f}. Mean changes of other switches beyond this ±, either way: "
            f"{', '.join(beyond) or 'none'}."
        )
    return "\n".join([*lines, ""])


def _controls(decisions: Sequence[Decision], measured: pd.DataFrame) -> Iterator[tuple]:
    """The rows of switches in scenarios in which they do nothing."""
    idle = {(m, s) for one in decisions for m in one.ablation for s in one.without_effect}
    for row in measured.itertuples():
        if (row.method, row.scenario) in idle:
            yield row


def _pipes(cells: pd.DataFrame) -> str:
    """A Markdown pipe table of text, not padded: its cells are long."""
    lines = [list(cells.columns), ["---"] * len(cells.columns), *cells.values.tolist()]
    return "".join(
        f"| {' | '.join(text.replace('|', '&#124;') for text in line)} |\n" for line in lines
    )


def main() -> None:
    """Write both files."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for path, text in documents(PROJECT).items():
        write_text(PROJECT / path, text)


if __name__ == "__main__":
    main()
