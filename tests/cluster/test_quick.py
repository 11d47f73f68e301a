"""The server behind the quick `python` outlives its clients."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import forking
import quick


def test_a_client_that_is_killed_before_it_asks_ends_no_server(tmp_path):
    folder = quick.folder_with_python(str(tmp_path / "quick"))
    environment = os.environ | {"PYTHONPATH": str(Path(forking.__file__).parent)}
    place = {"log": tmp_path / "out", "folder": tmp_path, "environment": environment}
    server = forking.begun(quick.serve, folder, **place)
    try:
        address = Path(folder, "socket")
        until = time.monotonic() + 60
        while not address.exists() and time.monotonic() < until:
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(address))
        done = subprocess.run(
            [f"{folder}/python", "-m", "platform"], env=environment, capture_output=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"Linux")
    finally:
        server.kill()
