"""Snakemake that asks the cluster about its jobs each second.

The SLURM plugin asks ten seconds later each time no job has ended, up to three minutes.
"""

from __future__ import annotations

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def a_second(_: RemoteExecutor) -> None:
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = a_second
    main()
