"""What the fault tests share: processes that can be killed at a moment, disks that can be full."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tqdm import tqdm


class Child:
    """A fork of this process, which has torch already; its words go to a file.

    Used as a context, it is killed at the end if it is still there.
    """

    def __init__(self, work: Callable[[], None], log: Path) -> None:
        self.log, self.status = log, None
        sys.stdout.flush()
        sys.stderr.flush()
        self.number = os.fork()
        if self.number == 0:
            status = 1
            try:
                gc.freeze()  # a collection would walk through, and copy, what is shared
                # tqdm's own is shared among forks, and a killed one would keep it for ever.
                tqdm.set_lock(threading.RLock())
                out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                for stream in (1, 2):
                    os.dup2(out, stream)
                sys.stdout, sys.stderr = (
                    os.fdopen(n, "w", buffering=1, encoding="utf-8") for n in (1, 2)
                )
                work()
                status = 0
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
                status = 1 if isinstance(end.code, str) else end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(status)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.number, number)

    def end(self) -> int:
        """The exit status; of a killed process, minus the signal."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        return self.status

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:  # else its number may be another's by now
            self.kill()
            self.end()

    @property
    def words(self) -> str:
        return self.log.read_text(encoding="utf-8")


def die() -> None:
    """End this process as the kernel does: at once, with nothing flushed or cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def leftovers(folder: Path) -> list[str]:
    """Temporary files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.part"))


class Disk:
    """A small file system in memory, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def leave(self, count: int) -> None:
        """Fill the disk so that `count` bytes are free, in whole pages."""
        self.free()
        space = os.statvfs(self.folder)
        fill = space.f_bavail * space.f_frsize - count
        with open(self.folder / "filler", "wb") as handle:
            os.posix_fallocate(handle.fileno(), 0, fill)

    def free(self) -> None:
        """Take the filling away."""
        (self.folder / "filler").unlink(missing_ok=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    """A disk of `size` on an empty folder; skips the test where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        pytest.skip("no mount command: a full disk cannot be made")
    if done.returncode != 0:
        pytest.skip(f"mounting a small disk needs root: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
