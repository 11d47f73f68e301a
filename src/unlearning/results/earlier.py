"""What an earlier snapshot has of models that are lost with their run's folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import read_config
from unlearning.frames import read_table
from unlearning.results.collected import refuse_mixed_code
from unlearning.results.keys import IDENTITY

MODELS = ["experiment", "train_seed"]
"""What tells one original, and all that was made of it, from another."""
LISTS = {"parts", "methods", "scenarios", "train_seeds", "resources"}
"""What says how many cells an experiment has and where they run, and nothing of a cell."""


def keep(config: RunConfig, earlier: Path, out: Path) -> int:
    """Put finished rows of the snapshot `earlier` in place of missing ones of that in `out`.

    In runs.csv, manifest.csv and roc.csv; not of studies and ensembles. Only of the experiments and
    training seeds of which the run in `out` has made nothing: an original that is trained again is
    another one, and rows of the two are never mixed. Returns the number of rows of runs.csv.

    Raises ValueError if a kept experiment had other settings than its methods and forget sets, or
    other code than rows beside it (`collected.refuse_mixed_code`).
    """
    names = "runs.csv", "manifest.csv", "roc.csv"
    old, new = ({name: read_table(folder / name) for name in names} for folder in (earlier, out))
    kept = _models(old["runs.csv"]) - _models(new["manifest.csv"])
    _refuse_changed(config, earlier / "config.json", {label for label, _ in kept})

    done = old["runs.csv"][_is_run(old["runs.csv"]) & _is_of(kept, old["runs.csv"])]
    asked = pd.MultiIndex.from_frame(done[IDENTITY])
    for name in names[:2]:
        found, rows = (frame[name].set_index(IDENTITY, drop=False) for frame in (new, old))
        taken = found.index.intersection(asked)
        found.loc[taken] = rows.reindex(columns=list(found), fill_value="").loc[taken]
        new[name] = found
    curves = old["roc.csv"]
    new["roc.csv"] = pd.concat([new["roc.csv"], curves[_is_of(kept, curves)]])
    refuse_mixed_code(new["runs.csv"].to_dict("records"), config)
    for name in names:
        new[name].to_csv(out / name, index=False, lineterminator="\n")
    return len(taken)


def _models(rows: pd.DataFrame) -> set[tuple[str, ...]]:
    """The MODELS of which a row was run."""
    return set(rows.loc[_is_run(rows), MODELS].itertuples(index=False, name=None))


def _is_run(rows: pd.DataFrame) -> pd.Series:
    return ~rows["status"].isin(["missing", "not_defined"])


def _is_of(models: set[tuple[str, ...]], rows: pd.DataFrame) -> pd.Series:
    return pd.Series(
        [pair in models for pair in rows[MODELS].itertuples(index=False, name=None)],
        index=rows.index,
        dtype=bool,
    )


def _refuse_changed(config: RunConfig, earlier: Path, labels: set[str]) -> None:
    """Raise ValueError if an experiment of the earlier config trained or measured otherwise."""
    was, now = (
        {e.label: e.model_dump(exclude=LISTS) for e in experiments}
        for experiments in (read_config(earlier).experiments, config.experiments)
    )
    for label in sorted(labels & now.keys()):
        changed = [key for key, value in was[label].items() if value != now[label][key]]
        if changed:
            raise ValueError(f"{earlier}: {label} had another {', '.join(changed)}")
