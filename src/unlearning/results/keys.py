"""The columns that tell rows of a run's files apart."""

from __future__ import annotations

GROUP = ["experiment", "dataset", "arch"]
KEY = [*GROUP, "scenario"]
"""Where a mean is taken: two experiments or scenarios never share one."""
CELLS = ["split", "train_seed"]
"""What is crossed: forget sets (classes) and training seeds."""
IDENTITY = [*KEY, "split", "method", "train_seed", "unlearn_seed"]
"""A cell."""
