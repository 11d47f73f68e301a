"""Jobs without their start-up: a server that has imported torch and forks one process a job.

Half of a small job is the import of torch. `start` leaves a server beside Snakemake, and
`python -m unlearning VERB` then asks it for a process instead of importing by itself. What a
job computes is the same either way. It stays a process of its own: the library is imported
after the fork, so an edit counts at once; it ends when the command that asked for it is
killed, with the same exit status; and without a server the command runs as it stands. A command
that is asked to end (SIGTERM, SIGINT) asks its job and waits for it: a training saves its state.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = "UNLEARNING_FORKSERVER"
PRELOADED = ("torch", "safetensors.torch", "pydantic", "tqdm", "sklearn.svm")
"""Never this library itself: its text may change while the server runs."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start(also: Sequence[str] = ()) -> subprocess.Popen:
    """Start a server for the commands that this process starts; it ends with this process.

    also: modules that it imports beside PRELOADED.
    """
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="unlearning-")
    return subprocess.Popen(
        [sys.executable, "-m", "unlearning.forkserver", *also],
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        start_new_session=True,  # a Ctrl-C is for the commands
        env={**os.environ, **ONE_THREAD, "NUMBA_DISABLE_JIT": "1"},  # see analysis.attributions
    )


def delegate(argv: list[str]) -> int | None:
    """The exit status of `python -m unlearning ARGV`, run by the server; None without one."""
    if FOLDER not in os.environ:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(_address())
    except OSError:
        return None  # not ready yet, or on another machine
    job = {"argv": argv, "folder": os.getcwd(), "environment": dict(os.environ)}
    request = json.dumps(job).encode()
    socket.send_fds(connection, [len(request).to_bytes(8, "big")], [1, 2])
    connection.sendall(request)
    told = _pass_on(connection)
    status = connection.recv(1)
    if not status and told:
        return 128 + told[0]
    if not status:
        print("the process that ran this job was killed", file=sys.stderr)
    return status[0] if status else 1


def _pass_on(connection: socket.socket) -> list[int]:
    """From now on, tell the job of a signal that asks this command to end; the list notes it."""
    told: list[int] = []

    def tell(number: int, _: object) -> None:
        told.append(number)
        with contextlib.suppress(OSError):  # the job may just have ended
            connection.shutdown(socket.SHUT_WR)  # see _end_with

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    return told


def _address() -> str:
    """The socket, whose name tells apart what must not share a server.

    Environments, copies of this library, and a scheduler's jobs: a process forked elsewhere
    would escape the limits of its job.
    """
    limits = Path("/proc/self/cgroup")
    inside = limits.read_text(encoding="utf-8") if limits.exists() else ""
    inside += os.environ.get("SLURM_JOB_ID", "")
    name = zlib.crc32(f"{sys.prefix} {Path(__file__).parent} {inside}".encode())
    return os.path.join(os.environ[FOLDER], f"{name:08x}")


def serve(run: Callable[[list[str]], None], also: Sequence[str] = ()) -> None:
    """Fork a process that calls `run` on the arguments of each request, until stdin ends."""
    for module in (*PRELOADED, *also):
        importlib.import_module(module)
    gc.freeze()  # a collection in a child would copy every page of these modules
    address = _address()
    if sys.dont_write_bytecode:  # else each job would compile what it imports: as long as its work
        sys.dont_write_bytecode, sys.pycache_prefix = False, f"{address}-compiled"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(128)
        while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
            connection, _ = ready[0].accept()
            if os.fork() == 0:
                listener.close()
                _answer(connection, run)
            connection.close()
            _reap()
    shutil.rmtree(os.path.dirname(address), ignore_errors=True)  # a job may still be writing there


def _reap() -> None:
    """Let go of the children that have ended."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _answer(connection: socket.socket, run: Callable[[list[str]], None]) -> None:
    """Be the process of one job: take its place, run it, send its exit status and end."""
    status = 1
    try:
        header, streams, _, _ = socket.recv_fds(connection, 8, 2)
        with connection.makefile("rb") as pipe:
            job = json.loads(pipe.read(int.from_bytes(header, "big")))
        _take_place(job, streams)
        _end_with(connection)
        run(job["argv"])
        status = 0
    except SystemExit as end:
        status = _status(end)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # the command may have been killed
            connection.send(bytes([status]))
        os._exit(status)


def _take_place(job: dict, streams: list[int]) -> None:
    """The streams, folder, environment and command line of the command that asked."""
    for stream, place in zip([os.open(os.devnull, os.O_RDONLY), *streams], range(3), strict=True):
        os.dup2(stream, place)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv[1:] = job["argv"]


def _end_with(connection: socket.socket) -> None:
    """Get SIGIO when the other end closes: it ends a process, or is deferred by a training."""
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(connection, fcntl.F_GETFL)
    fcntl.fcntl(connection, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([connection], [], [], 0)[0]:
        raise SystemExit("the command that asked for this job has ended")


def _status(end: SystemExit) -> int:
    """The exit status of `sys.exit`, whose text goes to stderr."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    from unlearning.__main__ import print_utf8, run_verb

    print_utf8()  # here: the streams of a job are others than those that Python opened
    serve(run_verb, sys.argv[1:])
