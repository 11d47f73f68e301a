"""How long a job worked, start-up and waiting left out, and its memory: its log's last line."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator

_waited = [0.0]


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Leave the block out of the seconds that `reported` prints."""
    began = time.perf_counter()
    yield
    _waited[0] += time.perf_counter() - began


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Print what the block took, if it succeeds: seconds by the clock and of CPU, peak memory."""
    began, cpu = time.perf_counter() - _waited[0], time.process_time()
    yield
    seconds = time.perf_counter() - _waited[0] - began, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    print("worked {:.3f} s, {:.3f} s of CPU, {:.0f} MB".format(*seconds, memory), flush=True)
