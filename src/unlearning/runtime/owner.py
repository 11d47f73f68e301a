"""Which processes run Snakemake in a folder, so that the locks of dead ones can be lifted.

Snakemake's own locks name no process. `claim` notes this one; its jobs inherit RUN in their
environment, so that jobs which outlive a killed Snakemake are found too.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from pathlib import Path

from unlearning.files import read_json, write_json

OWNERS = Path(".snakemake/owners")
"""A file for each process that runs the folder or was killed as it did."""
LOCKS = Path(".snakemake/locks")
RUN = "UNLEARNING_RUN"
"""In the environment of the jobs of a run: its name."""


def claim() -> None:
    """Note, until `release`, that this process runs the folder it works in.

    Call it while Snakemake's lock is held. Not for a run whose jobs are on other machines: nobody
    here knows whether they have ended.
    """
    name = _name(os.getpid())
    os.environ[RUN] = str(name)
    write_json(_file(), {"host": platform.node(), "pid": os.getpid(), "run": name})


def release() -> None:
    """Take the note away, as Snakemake does its lock."""
    _file().unlink(missing_ok=True)


def _file() -> Path:
    return OWNERS / f"{platform.node()}-{os.getpid()}.json"


def lift() -> bool:
    """Remove the locks if every run that may hold one was on this machine and is dead, jobs too."""
    if not left_lock():
        return False
    shutil.rmtree(LOCKS)
    shutil.rmtree(OWNERS)
    return True


def left_lock() -> bool:
    """Whether there is a lock here, and no process is alive of the runs that claimed the folder."""
    try:
        owners = [read_json(file) for file in OWNERS.iterdir()]
        locked = any(LOCKS.iterdir())
        here = {owner["run"] for owner in owners if owner["host"] == platform.node()}
        if not locked or not owners or len(here) < len(owners):
            return False
        if any(_name(owner["pid"]) == owner["run"] for owner in owners):
            return False
    except (OSError, ValueError, LookupError, TypeError):
        return False  # nobody claimed it
    return not _jobs_of(here)


def _jobs_of(runs: set[str]) -> bool:
    """Whether a job of some runs is alive."""
    import psutil  # imported by Snakemake already; a job does not need it

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(RUN) in runs:
                return True
    return False


def _name(pid: int) -> str | None:
    """A name that no other process has, not even a later one of the same number; None if dead."""
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return None if dead else f"{pid}-{process.create_time()}"
    except psutil.Error:
        return None
