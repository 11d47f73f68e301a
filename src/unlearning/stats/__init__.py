"""Statistics of crossed cells: pure functions on numbers and frames."""
