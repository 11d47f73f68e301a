"""Defer signals that end a process until its state can be saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO)
"""From a scheduler, from the keyboard, from a terminal that is closed, and from `forkserver` when
the asking command has ended."""


def ignored(number: int) -> bool:
    """Whether this process is to outlive its terminal (`nohup`)."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


@contextlib.contextmanager
def deferred() -> Iterator[list[int]]:
    """Yield a list that gets the number of each ending signal; the block looks at it and returns.

    After the block the process ends with the status of a process that the first signal killed
    (143 for SIGTERM). Outside the main thread, which alone gets signals, the list stays empty.
    """
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    ending = [number for number in ENDING if not ignored(number)]
    before = {number: signal.signal(number, lambda n, _: told.append(n)) for number in ending}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if told:
        raise SystemExit(128 + (signal.SIGTERM if told[0] == signal.SIGIO else told[0]))
