"""Processes without their start-up: forks of one that has imported what is slow, nothing of ours.

Half of what a short command costs is the import of Snakemake or torch. What a command computes
and prints is the same; its interpreter is another one in that it was started earlier, so a test of
the locale or of the start itself needs a process of its own.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import threadpoolctl

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("torch._dynamo", "safetensors.torch", "pandas", "pydantic", "scipy.stats"),
        *("sklearn.model_selection", "sklearn.svm", "pytest", "hypothesis"),
        *("snakemake.cli", "snakemake.workflow", "snakemake.dag", "snakemake.report"),
        *("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic"),
        *("argparse_dataclass", "jinja2", "platformdirs", "requests", "smart_open"),
        "matplotlib.pyplot",
    ]
)


def begun(
    function: Callable[..., object],
    *arguments: object,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
) -> multiprocessing.Process:
    """A process, in a group of its own, that calls a function of a module.

    log: the file for its output, folder: where it works. The modules of PYTHONPATH in its
    environment come first.
    """
    place = (function, arguments, log, folder, dict(environment))
    process = CONTEXT.Process(target=_begin, args=place)
    process.start()
    return process


def forked(
    function: Callable[..., object], *arguments: object, log: Path, timeout: float, **place
) -> int:
    """The exit status, as Python gives it, of a process begun at a place.

    Raises TimeoutError, with the process killed.
    """
    process = begun(function, *arguments, log=log, **place)
    try:
        process.join(timeout)
        if process.is_alive():
            said = log.read_text("utf-8", "replace")[-3000:]
            raise TimeoutError(f"not done in {timeout} s: {said}")
    finally:
        process.kill()
    return process.exitcode


def _begin(function, arguments, log, folder, environment) -> None:
    os.setpgrp()
    gc.freeze()  # a collection would walk through, and copy, what the forks share
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.dont_write_bytecode = False  # beside the sources of a copy
    function(*arguments)


def snakemake(*words: str) -> None:
    """The command `snakemake`, the server for its jobs (runtime.forkserver) a fork as well."""
    from snakemake import cli

    from unlearning.runtime import forkserver

    with contextlib.ExitStack() as stack:
        forkserver.start = functools.partial(_start, stack, forkserver.listen)
        forkserver.WORTH = 1  # a fork is ready at once
        sys.argv = ["snakemake", *words]
        cli.main([*words])


def _start(
    stack: contextlib.ExitStack, listen: Callable[[], socket.socket], also: Sequence[str] = ()
) -> None:
    """In place of `runtime.forkserver.start`: a fork of this process, ending with the stack."""
    listener, (stdin, alive) = listen(), os.pipe()
    server = os.fork()
    if server == 0:
        os.close(alive)
        _serve(stdin, listener, also)
    os.close(stdin)
    listener.close()
    stack.callback(os.waitpid, server, 0)
    stack.callback(os.close, alive)


def _serve(stdin: int, listener: socket.socket, also: Sequence[str]) -> NoReturn:
    try:
        os.setpgrp()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # not Snakemake's
        os.dup2(stdin, 0)
        sys.stdin = os.fdopen(0, encoding="utf-8")
        os.environ["NUMBA_DISABLE_JIT"] = "1"  # as the real one: before shap's import
        threadpoolctl.threadpool_limits(1)
        from unlearning.runtime import forkserver

        forkserver.serve(listener, also)
    finally:
        os._exit(0)


def module(name: str, *words: str) -> None:
    """The command `python -m NAME`."""
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def script(path: str, *words: str) -> None:
    """The command `python PATH`."""
    sys.argv = [path, *words]
    sys.path.insert(0, os.path.dirname(path))
    runpy.run_path(path, run_name="__main__")


def remember() -> None:
    """Read all code of a copy of the project and keep it, as its first run does."""
    from unlearning.records import provenance

    provenance.script_hash(*provenance.PACKAGE.rglob("*.py"), *Path().glob("figures/*.py"))
    provenance.remember()
