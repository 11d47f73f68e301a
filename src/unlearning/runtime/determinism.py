"""Whether a GPU shall compute the same bits in every run; free of torch."""

from __future__ import annotations

import os


def deterministic() -> bool:
    """Whether UNLEARNING_DETERMINISTIC asks for the same bits in every run on a GPU.

    Raises ValueError for a value that is neither 1 nor 0 nor empty.
    """
    asked = os.environ.get("UNLEARNING_DETERMINISTIC", "")
    if asked not in ("", "0", "1"):
        raise ValueError(f"UNLEARNING_DETERMINISTIC must be 1 or 0, not {asked!r}")
    return asked == "1"
