"""What a container or a cluster may lack: a name for the user, a folder for a socket."""

from __future__ import annotations

import contextlib
import getpass
import os

LONGEST = 80
"""Bytes of a folder in which a socket can be bound: its whole path has 107 at most."""
SHORT = ("/tmp", "/dev/shm", "/var/tmp")


def name_user() -> None:
    """Set USER to the user's number where nothing names the user: torch and Snakemake ask."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def socket_folder() -> str | None:
    """A new folder for a socket and for temporary files; None where no short one can be made."""
    import tempfile  # the start of a job does not need it

    for place in (tempfile.gettempdir(), *SHORT):
        if len(os.fsencode(place)) <= LONGEST:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="unlearning-", dir=place)
    return None
