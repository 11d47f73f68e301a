"""Which device a job runs on, and with how many threads."""

from __future__ import annotations

import os

import torch

from unlearning.provenance import deterministic


def choose_device(threads: int) -> str:
    """`cuda` if there is one, else `cpu`; UNLEARNING_DEVICE overrides. Sets torch's threads.

    One thread a job makes results independent of how many cores a machine has. On a GPU sums still
    come in any order; UNLEARNING_DETERMINISTIC=1 asks for algorithms with one order alone, which
    may be slower. It changes nothing on a CPU.
    """
    torch.set_num_threads(threads)
    if deterministic():
        repeat_bits()
    wanted = os.environ.get("UNLEARNING_DEVICE", "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(f"UNLEARNING_DEVICE must be auto, cpu or cuda, not {wanted!r}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("UNLEARNING_DEVICE is cuda, but torch finds no such device here")
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def repeat_bits() -> None:
    """Make torch compute the same bits each time in this process; before the first use of CUDA.

    An operation that has no such algorithm then is an error, and cuDNN does not try which of its
    algorithms is fastest. TF32 is left as it is.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read by cuBLAS as it starts
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
