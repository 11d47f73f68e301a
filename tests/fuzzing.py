"""How the fuzz tests run Hypothesis: the same inputs each time, and at night other and more."""

from __future__ import annotations

import ledger
from hypothesis import HealthCheck, settings


def fuzzing(times: int, nightly: int) -> settings:
    """Settings for so many inputs in `make test` and in `make nightly`."""
    return settings(
        max_examples=nightly if ledger.NIGHTLY else times,
        deadline=None,
        derandomize=not ledger.NIGHTLY,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
