"""How long a job worked, start-up left out: the last line of its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Print the seconds that the block took, by the clock and of CPU, if it succeeds."""
    began, cpu = time.perf_counter(), time.process_time()
    yield
    seconds = time.perf_counter() - began, time.process_time() - cpu
    print("worked {:.3f} s, {:.3f} s of CPU".format(*seconds), flush=True)
