"""Snakemake on a login node, as a fork (forking): it asks the cluster about its jobs each second.

The SLURM plugin asks ten seconds later each time no job has ended, up to three minutes.
"""

from __future__ import annotations

import asyncio
import sys

import forking


def submit(python: str, *words: str) -> None:
    """The command `snakemake`, whose jobs start with this `python`."""
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    async def a_second(_: RemoteExecutor) -> None:
        await asyncio.sleep(1)

    RemoteExecutor.sleep = a_second
    sys.executable = python
    forking.snakemake(*words)
