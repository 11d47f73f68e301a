"""A command's side of the server of jobs (unlearning.runtime.forkserver), and its streams.

Imports little, because it starts once for each job.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import zlib

from unlearning.runtime.interrupt import ignored

FOLDER = "UNLEARNING_FORKSERVER"
"""In the environment of a command: where the server's socket is."""


def delegate(argv: list[str]) -> int | None:
    """The exit status of `python -m unlearning ARGV`, run by the server; None without one."""
    if FOLDER not in os.environ:
        return None
    connection = socket.socket(socket.AF_UNIX)
    job = {"argv": argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    request = json.dumps(job).encode()
    try:
        connection.connect(address())
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [1, 2])
        connection.sendall(request)
        taken = connection.recv(1)
    except OSError:
        return None  # on another machine, or ended before it was ready
    if not taken:
        return None
    told = _pass_on(connection)
    status = connection.recv(1)
    if not status and told:
        return 128 + told[0]
    if not status:
        print("the process that ran this job was killed", file=sys.stderr)
    return status[0] if status else 1


def address() -> str:
    """The socket, whose name tells apart what must not share a server.

    Environments, copies of this library, and a scheduler's jobs: a process forked elsewhere
    would escape the limits of its job.
    """
    inside = os.environ.get("SLURM_JOB_ID", "")
    with (
        contextlib.suppress(FileNotFoundError),
        open("/proc/self/cgroup", encoding="utf-8") as file,
    ):
        inside += file.read()
    name = zlib.crc32(f"{sys.prefix} {os.path.dirname(__file__)} {inside}".encode())
    return os.path.join(os.environ[FOLDER], f"{name:08x}")


def _pass_on(connection: socket.socket) -> list[int]:
    """From now on, tell the job of a signal that asks this command to end; the list notes it."""
    told: list[int] = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        with contextlib.suppress(OSError):  # the job may just have ended
            connection.shutdown(socket.SHUT_WR)  # see forkserver._end_with

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if not ignored(number):
            signal.signal(number, tell)
    return told


def print_utf8() -> None:
    """Let this process print UTF-8, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
