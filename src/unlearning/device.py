"""Which device a job runs on, and with how many threads."""

from __future__ import annotations

import os

import torch


def choose_device(threads: int) -> str:
    """`cuda` if there is one, else `cpu`; UNLEARNING_DEVICE overrides. Sets torch's threads.

    One thread a job makes results independent of how many cores a machine has.
    """
    torch.set_num_threads(threads)
    wanted = os.environ.get("UNLEARNING_DEVICE", "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(f"UNLEARNING_DEVICE must be auto, cpu or cuda, not {wanted!r}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("UNLEARNING_DEVICE is cuda, but torch finds no such device here")
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
