"""Errors that are to be expected, said in one line; any other keeps its traceback."""

from __future__ import annotations

import contextlib
import dis
import errno
import os
import select
import sys
from collections.abc import Iterator
from types import TracebackType

from unlearning.files import STORAGE

PACKAGE = __package__
RAISE = dis.opmap["RAISE_VARARGS"]
MEMORY = ("out of memory", "annot allocate memory", "an't allocate memory")
"""What torch, CUDA and the C library say."""


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """End the process with `error: …` on stderr and status 1 for an error that is expected."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():
            sys.exit(1)
        reason = expected(error)
        if reason is None:
            raise
        sys.exit(f"error: {reason}")


def expected(error: Exception) -> str | None:
    """One line that says what is wrong and where; None for what may be a mistake of the code.

    Expected are want of memory, a disk that refuses, errors of this package's own classes, and a
    ValueError that a `raise` of this package states.
    """
    if _no_memory(error):
        return f"out of memory: give the job more (mem_mb), or a smaller batch ({_line(error)})"
    if isinstance(error, OSError):
        if error.errno not in STORAGE:
            return _line(error) if _ours(error) else None
        where = f"{error.filename}: " if error.filename else ""
        return where + os.strerror(error.errno)
    if _ours(error) or (isinstance(error, ValueError) and _stated(error.__traceback__)):
        return _line(error)
    return None


def _unread() -> bool:
    """Whether nobody reads stdout any more, as when `head` has seen enough; then drops the rest."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _no_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    foreign = isinstance(error, (RuntimeError, ImportError, OSError))
    return foreign and any(words in str(error) for words in MEMORY)


def _ours(error: Exception) -> bool:
    """Whether the error's class is defined in this package."""
    return type(error).__module__.split(".")[0] == PACKAGE


def _stated(traceback: TracebackType | None) -> bool:
    """Whether a `raise` of this package, and no call from it, is where the error began."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    frame = traceback.tb_frame
    inside = frame.f_globals.get("__name__", "").split(".")[0] == PACKAGE
    return inside and frame.f_code.co_code[traceback.tb_lasti] == RAISE


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
