"""Which process runs Snakemake in a folder, so that the lock of one that is dead can be lifted.

Snakemake's own locks name no process. `claim` notes this one; its jobs inherit RUN in their
environment, so that jobs which outlive a killed Snakemake are found too.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from unlearning.files import read_json, write_json

FILE = Path(".snakemake/owner.json")
LOCKS = Path(".snakemake/locks")
RUN = "UNLEARNING_RUN"
"""In the environment of the jobs of a run: its name."""


def claim() -> None:
    """Note that this process runs the folder it works in; call it while Snakemake's lock is held.

    Not for a run whose jobs are on other machines: nobody here knows whether they have ended.
    """
    name = _name(os.getpid())
    os.environ[RUN] = str(name)
    write_json(FILE, {"host": platform.node(), "pid": os.getpid(), "run": name})


def left_lock() -> bool:
    """Whether there is a lock here of a run on this machine of which no process is alive."""
    import psutil  # imported by Snakemake already; a job does not need it

    try:
        owner = read_json(FILE)
        if owner["host"] != platform.node() or not any(LOCKS.iterdir()):
            return False
        if _name(owner["pid"]) == owner["run"]:
            return False
    except (OSError, ValueError, LookupError, TypeError):
        return False  # nobody claimed it, or not in this version
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(RUN) == owner["run"]:
                return False
    return True


def _name(pid: int) -> str | None:
    """A name that no other process has, not even a later one of the same number; None if dead."""
    import psutil

    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return None if dead else f"{pid}-{process.create_time()}"
    except psutil.Error:
        return None
