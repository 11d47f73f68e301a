"""Time this machine and count a model's operations, to scale measured costs."""

from __future__ import annotations

import functools
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils.flop_counter import FlopCounterMode

from unlearning.data.catalogue import DatasetInfo
from unlearning.models import build
from unlearning.runtime.vision import torchvision
from unlearning.training.optim import SGD

STEPS, BATCH, REPEATS = 20, 64, 6
MOST_THREADS = 4


def pace() -> float:
    """CPU seconds of 20 training steps of `resnet18_small`, one thread a core at once: a median.

    A network that computes for most of a step: one that mostly moves memory varies twice as much
    from process to process. Of the processor, since waiting for it says nothing of its speed. As
    many at once as there are cores, as a run has them: two that are threads of one core are half as
    fast together. At most MOST_THREADS, which share one interpreter.
    """
    threads = torch.get_num_threads()
    cores = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    torchvision()  # repairing its import is for one thread
    torch.set_num_threads(1)
    with ThreadPoolExecutor(cores) as pool:
        spent = [each for found in pool.map(_steps, [REPEATS] * cores) for each in found]
    torch.set_num_threads(threads)
    return statistics.median(spent)


def _steps(repeats: int) -> list[float]:
    """CPU seconds of this thread in each of some repeats, after one that warms up."""
    model = build("resnet18_small", 10, 1).to(memory_format=torch.channels_last).train()
    images, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    spent = []
    for _ in range(repeats + 1):
        start = time.thread_time()
        for _ in range(STEPS):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        spent.append(time.thread_time() - start)
    return spent[1:]


def training_seconds(
    arch: str,
    info: DatasetInfo,
    precision: str,
    threads: int = 1,
    batch: int = 256,
    repeats: int = 5,
) -> list[float]:
    """Seconds of a thread that an image takes in each of some training steps, after a first one."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build(arch, info.classes, info.channels, precision=precision)
    model = model.to(memory_format=torch.channels_last).train()
    images = torch.randn(batch, info.channels, info.size, info.size)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, info.classes, (batch,))
    optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
    spent = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        spent.append(threads * (time.perf_counter() - start) / batch)
    torch.set_num_threads(before)
    return spent[1:]


@functools.cache
def size(arch: str, info: DatasetInfo) -> tuple[float, float]:
    """Floating-point operations of one image forwards, and bytes of the weights.

    Counted on shapes alone, without weights or arithmetic. On a CPU attention would take a fast
    path that the counter does not see into.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.inference_mode():
        model = build(arch, info.classes, info.channels).eval()
        model(torch.zeros(1, info.channels, info.size, info.size))
    held = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return float(counter.get_total_flops()), float(held)
