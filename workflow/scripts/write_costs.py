"""Take what the jobs of a finished run cost into configs/costs.csv, from their logs.

    python workflow/scripts/write_costs.py results/mini
    python workflow/scripts/write_costs.py --train resnet18_3x3 cifar100 bfloat16

The second form times training steps instead, for an architecture, a data set's images and a
precision, on one thread. Rows of other kinds stay as they are.

The last line of a job's log says how long it worked and its peak memory. Snakemake's `benchmark`
is no source for this: on one machine a job is forked from a server, and it would measure the
command that asked for it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from unlearning.config.experiment import RunConfig
from unlearning.config.parsing import read_config
from unlearning.data.catalogue import catalogue
from unlearning.files import write_text
from unlearning.jobs import costs
from unlearning.jobs.pace import pace, training_seconds

PACES = 9  # some moments of a shared machine
LAST = re.compile(r"worked ([\d.]+) s, [\d.]+ s of CPU, (\d+) MB")


def worked(log: Path) -> tuple[float, float] | None:
    """Seconds and MB that the last line of a log states; None for a job without one."""
    if not log.exists():
        return None
    found = LAST.fullmatch(log.read_text(encoding="utf-8").rstrip().rpartition("\n")[2])
    return (float(found[1]), float(found[2])) if found else None


def log_of(job: costs.Job, root: Path) -> Path:
    """Where the log of a job of the run in `root` lies."""
    if job.name.startswith("data/"):
        return root.parents[1] / "data/logs" / f"{job.name.removeprefix('data/')}.log"
    return root / "logs" / f"{job.name}.log"


def fit(jobs: list[costs.Job], root: Path) -> pd.DataFrame:
    """The table's rows of some jobs: seconds of a thread a unit of work, over all of a kind."""
    rows = []
    for job in jobs:
        spent = worked(log_of(job, root))
        if spent and job.work:
            seconds, memory = spent
            rows.append([job.kind, job.work, seconds * job.threads, memory])
    frame = pd.DataFrame(rows, columns=["kind", "work", "seconds", "memory_mb"])
    ratio = frame.assign(ratio=frame["seconds"] / frame["work"]).groupby("kind")
    sums = frame.groupby("kind")[["work", "seconds"]].sum()
    return pd.DataFrame(
        {
            "seconds": sums["seconds"] / sums["work"],
            "low": ratio["ratio"].min(),
            "high": ratio["ratio"].max(),
            "memory_mb": ratio["memory_mb"].max(),
            "n": ratio.size(),
        }
    )


def measured(config: RunConfig, root: Path) -> pd.DataFrame:
    """The whole table of a run: the trainings first, since the rest is counted in them."""
    datasets = catalogue() | config.own_datasets
    drawn = [file.stem for file in sorted((root / "logs/figures").glob("*.log"))]

    def listed(speed):
        return costs.jobs(config, datasets, speed, lambda *_: 0, drawn)

    trained = fit([j for j in listed(lambda *_: 0) if j.kind.startswith(costs.TRAIN)], root)

    def speed(arch, info, precision):
        return trained.at[costs.train_kind(arch, info, precision), "seconds"]

    others = fit([j for j in listed(speed) if not j.kind.startswith(costs.TRAIN)], root)
    paces = pd.Series([pace() for _ in range(PACES)])
    found = {"seconds": paces.median(), "low": paces.min(), "high": paces.max(), "n": PACES}
    here = pd.DataFrame(found, index=["pace"])
    return pd.concat([trained, others, here])


def timed(arch: str, dataset: str, precision: str) -> pd.DataFrame:
    """The row of training an architecture: seconds of a thread and image, the least of a few."""
    info = catalogue()[dataset]
    spent = training_seconds(arch, info, precision)
    row = {"seconds": min(spent), "low": min(spent), "high": max(spent), "n": len(spent)}
    return pd.DataFrame(row, index=[costs.train_kind(arch, info, precision)])


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The table with the new rows in place of those of the same kinds: trainings, rest, pace."""
    frame = pd.concat([old[~old.index.isin(new.index)], new])
    order = [(not k.startswith(costs.TRAIN), k == "pace", k) for k in frame.index]
    return frame.iloc[sorted(range(len(order)), key=order.__getitem__)]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "--train", nargs=3, metavar=("ARCH", "DATASET", "PRECISION"), help="time a training"
    )
    options = parser.parse_args()
    if (options.root is None) == (options.train is None):
        parser.error("name a finished run, or time a training with --train")
    if options.train:
        frame = timed(*options.train)
    else:
        file = options.root / "config.json"
        frame = measured(read_config(file), options.root)
    for name in ("seconds", "low", "high"):
        frame[name] = frame[name].map("{:.4g}".format).replace("nan", "")
    old = pd.read_csv(costs.FILE, dtype=str, keep_default_na=False).set_index("kind")
    frame["memory_mb"] = frame.get("memory_mb", pd.Series("", frame.index)).map(_whole)
    write_text(costs.FILE, merged(old, frame.astype(str)).to_csv(index_label="kind"))


def _whole(value: float | str) -> str:
    return "" if value == "" or pd.isna(value) else str(int(value))


if __name__ == "__main__":
    main()
