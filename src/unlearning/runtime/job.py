"""One verb as a job: expected errors in one line, and how long it worked as its log's last line.

The same in the process of a shell and in a fork of the server of jobs.
"""

from __future__ import annotations

import contextlib
import dis
import errno
import importlib
import os
import resource
import select
import sys
import time
from collections.abc import Iterator
from types import TracebackType

from unlearning.files import STORAGE

PACKAGE = __name__.partition(".")[0]
RAISE = dis.opmap["RAISE_VARARGS"]
MEMORY = ("out of memory", "annot allocate memory", "an't allocate memory")
"""What torch, CUDA and the C library say."""
MISSING = (errno.ENOENT, errno.ENOTDIR)
WHERE = "run commands in the folder that holds results/ and data/ (cd there)"


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

    Expected are want of memory, a disk that refuses, a file that the command line names and that
    is not there, errors of this package's own classes, and a ValueError that a `raise` of this
    package states.
    """
    if _no_memory(error):
        return f"out of memory: give the job more (mem_mb), or a smaller batch ({_line(error)})"
    if isinstance(error, OSError):
        if error.errno in MISSING and _named(error.filename):
            return f"{error.filename}: not found in {os.getcwd()}; {WHERE}"
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


def _named(path: str | bytes | int | None) -> bool:
    """Whether a word of the command line names the path, or the folder that it lies in."""
    words = [word.rpartition("=")[2] for word in sys.argv[1:]]
    return isinstance(path, str) and any(word and path.startswith(word) for word in words)


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


UNREPORTED = (
    *("compare", "describe", "draw", "estimate", "merge", "show", "snapshot", "trace", "verify"),
)
"""Verbs that do not end with how long they worked: people ask for them; a figure says it."""


def run_verb(argv: list[str]) -> None:
    """Run one verb in this process; the last line of a job says how long, or what failed."""
    with in_one_line():
        stage = importlib.import_module(f"unlearning.stages.{argv[0]}")
        with contextlib.nullcontext() if argv[0] in UNREPORTED else reported():
            stage.main(argv[1:])
