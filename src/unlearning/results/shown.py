"""What a run shows: its tables, its figures, and the CSV file that each figure is drawn from."""

from __future__ import annotations

from collections.abc import Collection

from unlearning.metrics.aus import shown_scenarios

TABLES = ("membership", "oracle_distance", "statistics", "variance", "ensembles")
"""The tables of a grid beside one a scenario (those of the studies: metrics.names.STUDY_TABLES)."""
FIGURES = {
    "aus_vs_time": "runs",
    "accuracies": "runs",
    "sensitivity": "runs",
    "roc": "roc",
    "ranks": "runs",
}
"""The figures of a grid."""
STUDY_FIGURES = {
    "density": "features",
    "destinations": "destinations",
    "embedding_maps": "maps",
    "attributions": "attributions",
    "attribution_maps": "attribution_maps",
    "shortcut": "shortcut",
    "multiple_classes": "studies",
    "ablation": "studies",
    "architectures": "studies",
}
SOURCES = FIGURES | STUDY_FIGURES | {"tuning": "tuning"}
"""Every figure, that of a search among them."""
DRAWN = ("svg", "pdf", "png", "csv")
"""The forms of a figure."""
PRINTED = ("csv", "json", "md", "tex", "html")
"""The forms of a table."""
READ = ("csv", "md", "tex", "html")
"""The forms of the audit."""


def tables(scenarios: Collection[str]) -> list[str]:
    """The tables of a grid with cells of these scenarios."""
    return [*shown_scenarios(scenarios), *TABLES]
