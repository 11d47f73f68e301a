"""This machine and this checkout: facts, the matrix-multiply peak, counted FLOPs, the data."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from unlearning.data.catalogue import catalogue
from unlearning.data.sources import fetch

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "out"
CORES = len(os.sched_getaffinity(0))
SOFTWARE = ("torch", "torchvision", "numpy", "snakemake")


def facts(command: str) -> dict[str, str]:
    """What a figure depends on: machine, load, versions, commit and command."""
    return {
        "CPU": _cpu_model(),
        "cores": str(CORES),
        "RAM": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "GPU": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in SOFTWARE},
        "commit": _commit(),
        "command": command,
        "cores busy with other work just before": f"{_busy_cores():.1f}",
    }


def _busy_cores(seconds: float = 1.0) -> float:
    """How many cores are at work while this process sleeps."""

    def idle() -> float:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")  # idle, iowait

    begun, before = time.perf_counter(), idle()
    time.sleep(seconds)
    return max(0.0, os.cpu_count() - (idle() - before) / (time.perf_counter() - begun))


def _cpu_model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found[1] if found else platform.machine()


def _commit() -> str:
    """The commit, and whether files other than the results differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
        )
        return done.stdout.strip()

    results = ":!benchmarks/RESULTS.md"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", results)
    return git("rev-parse", "HEAD") + (" with uncommitted changes" if changed else "")


def devices() -> list[str]:
    """`cpu`, and `cuda` where there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def synchronise(device: str) -> None:
    """Wait until `device` has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_peak(device: str, seconds: float = 0.3) -> float:
    """GFLOP/s of the fastest square float32 matrix product within `seconds`.

    On CUDA it may use TF32 if convolutions may, so that both have the same arithmetic.
    """
    size = 8192 if device == "cuda" else 1024
    matmul, allowed = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    a = torch.rand(size, size, device=device)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ a
        synchronise(device)
        fastest = min(fastest, time.perf_counter() - start)
    matmul.allow_tf32 = allowed
    return 2 * size**3 / fastest / 1e9


def flops(model: torch.nn.Module, images: torch.Tensor) -> dict[str, float]:
    """FLOPs an image, counted: `forward` alone, and `training`, which is forward and backward.

    images: [B, C, H, W]. Products and sums of convolutions and matrix products, nothing else.
    """
    found = {}
    for kind in ("forward", "training"):
        with FlopCounterMode(display=False) as counter:
            logits = model(images)
            if kind == "training":
                logits.sum().backward()
        found[kind] = counter.get_total_flops() / len(images)
    return found


def embedded_data() -> Path:
    """The embedded part of Fashion-MNIST, packed as the DAG packs it."""
    fetch(catalogue(ROOT / "configs/datasets.csv")["fashion_mnist_mini"], OUT / "data")
    return OUT / "data" / "fashion_mnist_mini.safetensors"


def library(root: Path = ROOT) -> Mapping[str, str]:
    """The environment of a job that imports the library of the checkout at `root`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(root / "src")}
