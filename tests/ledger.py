"""What the fault and fuzz tests did to the project, counted as they run.

`count` appends to a file of the process below `results/reliability/`; the table in
docs/reliability.md is made of all of them by `workflow/scripts/write_reliability.py`. `make test`
begins with none.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

NIGHTLY = os.environ.get("UNLEARNING_NIGHTLY") == "1"
"""Whether the long variants run (`make nightly`)."""
COUNTS = Path(__file__).parent.parent / "results/reliability"
FOLDER = COUNTS / ("nightly" if NIGHTLY else "test")
FAULTS = {
    "kill_training": "A training killed (SIGKILL) at a random moment, then resumed",
    "terminate_training": "A training ended by a scheduler (SIGTERM), then resumed",
    "kill_worker": "A job of the DAG killed, as for want of memory, then run again",
    "out_of_memory": "A job whose memory is limited below its need",
    "disk_full": "Disk full while weights, records, tables or figures are written",
    "read_only": "A results folder that cannot be written",
    "corrupt_data": "A cached data set with changed bytes",
    "corrupt_weights": "A weights file with changed bytes",
    "corrupt_record": "A record with changed bytes",
    "clock": "A clock that jumps, back or ahead",
    "race_download": "Processes that race for one download",
    "race_dag": "Two Snakemakes on one DAG",
    "slurm_cancel": "A SLURM job cancelled (scancel), then resumed",
    "slurm_drain": "A SLURM node drained and brought back",
    "slurm_race": "One DAG submitted to SLURM twice at once",
}
INPUTS = {
    "fuzz_config": "Configs made wrong at random",
    "fuzz_plan": "The same, planned by Snakemake itself",
    "fuzz_idx": "idx files made wrong at random",
    "fuzz_cifar": "CIFAR archives made wrong at random",
    "fuzz_zip": "TinyImageNet archives made wrong at random",
    "fuzz_images": "Folders of images made wrong at random",
    "fuzz_weights": "Weights files made wrong at random",
    "fuzz_record": "Records made wrong at random",
    "hostile_archive": "Archives with absolute or parent paths, links, devices or bombs",
    "hostile_pickle": "Pickles that ask for code or for all memory",
}
DONE = FAULTS | INPUTS
"""What can be counted, in the order of the table."""


def count(what: str, times: int = 1, lost: int = 0) -> None:
    """Note that `what`, a key of DONE, was done `times` times and what was lost.

    lost: how often a file was half, wrong or gone afterwards, work was done twice that was
    finished before, or an error was no message of ours. Call it before the assertion.
    """
    if what not in DONE:
        raise ValueError(f"{what} is none of {', '.join(DONE)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f"{os.getpid()}.csv", "a", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerow([what, times, lost])
