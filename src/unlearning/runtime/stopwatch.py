"""Seconds that a part of the work took, on any device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from unlearning.runtime.device import synchronize


class Stopwatch:
    """Seconds of the unlearning steps alone: the device synchronised, pauses left out."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Start or resume counting."""
        self._since = self._now()

    def stop(self) -> None:
        """Stop counting."""
        self.seconds += self._now() - self._since
        self._since = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the block out of the count, if the watch is running."""
        running = self._since is not None
        if running:
            self.stop()
        try:
            yield
        finally:
            if running:
                self.start()

    def _now(self) -> float:
        synchronize(self.device)
        return time.perf_counter()
