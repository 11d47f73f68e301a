"""A `python` for the cluster's jobs that is a fork of a process with Snakemake and torch loaded.

A job starts Snakemake twice and then a verb: nine seconds of imports for one of work. The program
`python` of `folder_with_python` is the client: it asks the server for a fork that takes its place,
passes on the signals that it gets, and ends with the status of the fork. Killed, it takes along the
fork and what that started, as SLURM does with the processes of a job. It must start quickly: at the
top this file imports little.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCONT)


def folder_with_python(folder: str) -> str:
    """Make the folder with the client, which finds its server there; gives the folder."""
    os.makedirs(folder)
    program = os.path.join(folder, "python")
    with open(program, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {folder} "$@"\n')
    os.chmod(program, 0o755)
    return folder


def ask(folder: str, words: list[str]) -> int:
    """The exit status of `python -m …` in a fork; anything else runs in an interpreter."""
    if not words or words[0] != "-m":
        os.execv(sys.executable, [sys.executable, *words])
    place = {"words": words[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    request = json.dumps(place).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.join(folder, "socket"))
        socket.send_fds(connection, [len(request).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(request)
        for number in SIGNALS:  # only now: before there is a fork, they are meant for this process
            signal.signal(number, lambda told, _: connection.send(bytes([told])))
        status = connection.recv(1)
    return status[0] if status else 1


def serve(folder: str) -> None:
    """Fork a process for each client, until the process that started this one has ended."""
    import contextlib
    import selectors

    parent = os.getppid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(folder, "socket"))
    listener.listen(64)
    clients: dict[int, socket.socket] = {}  # by the number of their fork
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while os.getppid() == parent:
            for key, _ in selector.select(timeout=0.05 if clients else 1):
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    try:
                        asked = _request(client)
                    except (OSError, ValueError):  # killed before it had asked
                        client.close()
                        continue
                    number = _fork(*asked, folder)
                    clients[number] = client
                    selector.register(client, selectors.EVENT_READ, number)
                elif told := _told(key.fileobj):
                    os.killpg(key.data, told[0])
                else:  # killed
                    selector.unregister(key.fileobj)
                    os.killpg(key.data, signal.SIGKILL)
            while clients and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client, status = clients.pop(ended[0]), os.waitstatus_to_exitcode(ended[1])
                if client in {key.fileobj for key in selector.get_map().values()}:
                    selector.unregister(client)
                    with contextlib.suppress(OSError):  # killed as its fork ended
                        client.send(bytes([status if status >= 0 else 128 - status]))
                client.close()


def _request(client: socket.socket) -> tuple[dict, list[int]]:
    """What a client runs and where, and its streams."""
    header, streams, _, _ = socket.recv_fds(client, 8, 3)
    request = client.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL)
    return json.loads(request), streams


def _told(client: socket.socket) -> bytes:
    """The signal that a client was sent; none of one that was killed."""
    try:
        return client.recv(1)
    except OSError:
        return b""


def _fork(place: dict, streams: list[int], folder: str) -> int:
    """The number of a process, in a group of its own, that takes a client's place."""
    number = os.fork()
    if number:
        for stream in streams:
            os.close(stream)
        os.setpgid(number, number)
        return number
    status = 1
    try:
        os.setpgid(0, 0)
        status = _take_place(place, streams, folder)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _take_place(place: dict, streams: list[int], folder: str) -> int:
    import traceback

    import forking
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)  # read from the environment when they were loaded
    for stream, number in zip(streams, range(3), strict=True):
        os.dup2(stream, number)
    os.chdir(place["folder"])
    os.environ.clear()
    os.environ.update(place["environment"])
    sys.path[:0] = place["environment"]["PYTHONPATH"].split(os.pathsep)
    sys.executable = os.path.join(folder, "python")
    name, *words = place["words"]
    try:
        if name == "snakemake":
            forking.snakemake(*words)
        else:
            forking.module(name, *words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2:]))
