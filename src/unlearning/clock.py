"""How long a job worked, start-up left out, and its memory: the last line of its log."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Print what the block took, if it succeeds: seconds by the clock and of CPU, peak memory."""
    began, cpu = time.perf_counter(), time.process_time()
    yield
    seconds = time.perf_counter() - began, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    print("worked {:.3f} s, {:.3f} s of CPU, {:.0f} MB".format(*seconds, memory), flush=True)
