"""Pick a free GPU for a job, with one lock file for each GPU.

All jobs of a user on a machine share one folder of locks. A lock is held until its process ends,
however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

import torch

from unlearning.runtime.job import waiting

ASKED = "UNLEARNING_GPU"
"""In the environment of a job: how many GPUs its rule asks for, 0 or 1 (`gpu` of resources)."""
FOLDER = Path("/tmp") / f"unlearning-gpus-{os.getuid()}"
PAUSE = 1.0
"""Seconds between two looks for a free GPU."""
_held: dict[int, IO[bytes]] = {}


def take(wanted: str) -> int | None:
    """The index of the GPU that this process computes on from now on; None: there is none.

    wanted: `auto`; `cuda`, any GPU; or `cuda:N`, which is not locked, so that jobs may share it.
    Nor is the only one that CUDA_VISIBLE_DEVICES leaves: a scheduler gave it to this job. Of
    several a free one is taken. Where none is free, a job that asks for a GPU waits, and another
    shares one. Raises ValueError for a GPU that was asked for and is not there.
    """
    asked = os.environ.get(ASKED, "0")
    if asked not in ("0", "1"):
        raise ValueError(f"{ASKED} must be 0 or 1, not {asked!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0 and wanted == "auto" and asked == "1":
        raise ValueError(
            "this job asks for a GPU (gpu: 1 under resources), but torch finds none here; see "
            "nvidia-smi and torch.version.cuda, or set UNLEARNING_DEVICE=cpu"
        )
    if count == 0 and wanted == "auto":
        return None
    index = int(wanted.removeprefix("cuda:")) if ":" in wanted else None
    if count <= (index or 0):
        raise ValueError(f"UNLEARNING_DEVICE is {wanted}, but torch finds {count} GPUs here")
    if index is not None:
        return index
    if count == 1 and os.environ.get("CUDA_VISIBLE_DEVICES"):
        return 0
    return _free(count, wait=asked == "1")


def _free(count: int, wait: bool) -> int:
    """A GPU that no other process holds; without `wait` one that is shared, where all are held."""
    said = False
    while True:
        for index in range(count):
            if index in _held or _lock(index):
                return index
        if not wait:
            return os.getpid() % count
        if not said:
            print(f"waiting for a free GPU: other jobs hold all {count}", flush=True)
            said = True
        with waiting():
            time.sleep(PAUSE)


def _lock(index: int) -> bool:
    """Hold the lock of a GPU until this process ends; False if another process holds it."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    if FOLDER.stat().st_uid != os.getuid():
        raise ValueError(f"{FOLDER}: belongs to another user; remove it")
    # By its own number, not by its index: CUDA_VISIBLE_DEVICES and containers number anew.
    name = str(torch.cuda.get_device_properties(index).uuid)
    handle = open(FOLDER / name, "ab")  # noqa: SIM115 (held until the process ends)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return False
    _held[index] = handle
    return True
