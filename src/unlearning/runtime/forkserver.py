"""A server that has imported torch and forks one process for each job.

Half of a small job is the import of torch. `start` leaves a server beside Snakemake, and
`python -m unlearning VERB` then asks it for a process instead of importing by itself
(runtime.delegate). What a job computes is the same either way. It stays a process of its own:
where a file of the library is another one than when the server began, the job imports all of it
anew, so an edit counts at once; it ends when the command that asked for it is killed, with the
same exit status. A command that is asked to end (SIGTERM, SIGINT) asks its job and waits for it: a
training saves its state.
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
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from unlearning.runtime.delegate import FOLDER, address, print_utf8
from unlearning.runtime.surroundings import socket_folder

PRELOADED = ("torch", "safetensors.torch", "pydantic", "tqdm", "sklearn.svm")
LIBRARY = Path(__file__).parents[1]
WORTH = 3  # jobs: fewer are done before a server is ready
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start(also: Sequence[str] = ()) -> subprocess.Popen | None:
    """Start a server for the commands that this process starts; it ends with this process.

    A command that asks before the server is ready waits for it. also: modules that it imports
    beside PRELOADED, of this library or others. None, and no server, where no folder for its
    socket can be made: commands then import torch themselves.
    """
    listener = listen()
    if listener is None:
        return None
    with listener:
        return subprocess.Popen(
            [sys.executable, "-m", "unlearning.runtime.forkserver", str(listener.fileno()), *also],
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            process_group=0,  # a Ctrl-C is for the commands; of one session, for its priority
            pass_fds=[listener.fileno()],
            env={**os.environ, **ONE_THREAD, "NUMBA_DISABLE_JIT": "1"},  # see analysis.attributions
        )


def listen() -> socket.socket | None:
    """The socket of a server to be started, in a folder of its own that the environment names."""
    folder = socket_folder()
    if folder is None:
        return None
    os.environ[FOLDER] = folder
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address())
    listener.listen(128)
    return listener


def serve(listener: socket.socket, also: Sequence[str] = ()) -> None:
    """Fork a process for each request, until stdin ends. also: see `start`."""
    known = _files()
    for module in (*PRELOADED, *also):
        importlib.import_module(module)
    gc.freeze()  # a collection in a child would copy every page of these modules
    if sys.dont_write_bytecode:  # else each job would compile what it imports: as long as its work
        compiled = os.path.join(os.environ[FOLDER], "compiled")
        sys.dont_write_bytecode, sys.pycache_prefix = False, compiled
    with listener:
        while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
            connection, _ = ready[0].accept()
            if os.fork() == 0:
                listener.close()
                _answer(connection, known)
            connection.close()
            _reap()
    shutil.rmtree(os.environ[FOLDER], ignore_errors=True)  # a job may still be writing there


def _files() -> set[tuple[str, int, int]]:
    """The library's files as they lie on the disk, with their times and sizes."""
    found = set()
    for path in LIBRARY.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):  # an editor may be at work
            at = path.stat()
            found.add((str(path), at.st_mtime_ns, at.st_size))
    return found


def _reap() -> None:
    """Let go of the children that have ended."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _answer(connection: socket.socket, known: set[tuple[str, int, int]]) -> None:
    """Be the process of one job: take its place, run it, send its exit status and end.

    known: the library's files that this process has imported.
    """
    status = 1
    try:
        with contextlib.suppress(OSError):  # the command may have been killed: see _end_with
            connection.send(b".")  # see delegate
        header, streams, _, _ = socket.recv_fds(connection, 8, 2)
        with connection.makefile("rb") as pipe:
            job = json.loads(pipe.read(int.from_bytes(header, "big")))
        _take_place(job, streams)
        _end_with(connection)
        if _files() != known:
            for name in [name for name in sys.modules if name.split(".")[0] == LIBRARY.name]:
                del sys.modules[name]
        importlib.import_module(f"{LIBRARY.name}.runtime.job").run_verb(job["argv"])
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
    print_utf8()  # here: the streams of a job are others than those that Python opened
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
