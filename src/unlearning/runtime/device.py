"""Which device a job runs on, and with how many threads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import torch

from unlearning.runtime import gpus
from unlearning.runtime.determinism import deterministic


def choose_device(threads: int) -> str:
    """`cuda` if there is a GPU, else `cpu`; sets torch's threads and its current GPU.

    UNLEARNING_DEVICE overrides: `cpu`, `cuda`, `cuda:N` or `mps`, the GPU of an Apple computer
    (untested). Which GPU `cuda` then is: `gpus.take`.

    One thread a job makes results independent of how many cores a machine has. On a GPU sums still
    come in any order; UNLEARNING_DETERMINISTIC=1 asks for algorithms with one order alone, which
    may be slower. It changes nothing on a CPU.
    """
    torch.set_num_threads(threads)
    if deterministic():
        repeat_bits()
    wanted = os.environ.get("UNLEARNING_DEVICE", "auto")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", wanted):
        raise ValueError(
            f"UNLEARNING_DEVICE must be auto, cpu, cuda, cuda:N or mps, not {wanted!r}"
        )
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("UNLEARNING_DEVICE is mps, but torch finds no Apple GPU here")
        return wanted
    index = None if wanted == "cpu" else gpus.take(wanted)
    if index is None:
        return "cpu"
    torch.cuda.set_device(index)
    return "cuda"


def repeat_bits() -> None:
    """Make torch compute the same bits each time in this process; before the first use of CUDA.

    An operation that has no such algorithm then is an error, and cuDNN does not try which of its
    algorithms is fastest. TF32 is left as it is.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read by cuBLAS as it starts
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Waits(RuntimeError):
    """A job was started in bfloat16, which this processor lacks; it resumes on one that has it."""


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; a CPU without takes about 100 x longer.

    On a CPU: AVX-512 BF16, AMX or Arm's BF16, as torch finds them.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def usable_precision(
    wanted: str, device: str, started: Callable[[str], bool] = lambda precision: False
) -> str:
    """The precision in which a job computes here: `wanted`, or float32 where the run allows it.

    started: whether the job has a saved state in a precision; it goes on in that one.
    UNLEARNING_WITHOUT_BFLOAT16 (`without_bfloat16` of a config) says what a device without
    bfloat16 does: `stop`, the default, or `float32`. Raises ValueError where it is stop, and
    Waits where the job was begun in bfloat16.
    """
    if wanted == "float32" or started("float32"):
        return "float32"
    if has_bfloat16(device):
        return wanted
    name = "GPU" if device == "cuda" else "processor"
    if started(wanted):
        raise Waits(
            f"started in {wanted}, which this {name} does not have; run it on one that has it, or "
            "delete its resume folder to start again"
        )
    if os.environ.get("UNLEARNING_WITHOUT_BFLOAT16", "stop") != "float32":
        raise ValueError(
            f"precision: this {name} has no {wanted} in hardware and would take about a hundred "
            "times as long; set precision: float32, or without_bfloat16: float32 in the config"
        )
    return "float32"
