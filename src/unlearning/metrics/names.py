"""The names of what is measured, by the file that holds it; docs/metrics.md says what each is."""

from __future__ import annotations

ACCURACIES = (
    "retain_train_accuracy",
    "forget_train_accuracy",
    "retain_test_accuracy",
    "forget_test_accuracy",
    "test_accuracy",
)
DISTANCES = (
    "accuracy_gap",
    *(f"js_{part}" for part in ("forget", "retain", "test")),
    *(f"l2_{part}" for part in ("forget", "retain", "test")),
    *(f"agreement_{part}" for part in ("forget", "retain", "test")),
    "cka_forget",
    "cka_test",
    "probe_accuracy",
    "relearn_steps",
)
ATTACKS = (
    "lira_auc",
    "lira_auc_error",
    "lira_balanced_accuracy",
    "lira_tpr_at_1_percent",
    "lira_tpr_at_01_percent",
    "lira_offline_auc",
    "released_attack_auc",
    "svc_f1",
    "svc_chance_distance",
    "shadow_models",
)
COSTS = ("unlearning_seconds", "official_seconds", "peak_memory_mb")
REWEIGHTED = ("reweighted_test_accuracy", "reweighted_gap")
"""Of sample removal alone."""
METRICS = (*ACCURACIES, "aus", *DISTANCES, *ATTACKS, *COSTS, *REWEIGHTED)
ENSEMBLES = ("klom_forget", "klom_retain", "klom_test", "u_lira_auc", "u_lira_worst_auc")
FEATURES = ("log_density", "silhouette", "margin", "reached", "destination_distance")
SHORTCUT = (
    *("clean_source", "clean_label", "patched_source", "patched_label", "strength"),
    *("attribution_mass", "patch_area", "poisoned_accuracy", "test_accuracy"),
)
"""The measures in features.csv and in shortcut.csv."""
STUDY_TABLES = (
    "feature_space",
    "attributions",
    "shortcut",
    "multiple_classes",
    "ablation",
    "architectures",
)
"""The tables of the studies (`unlearning.tables.study_tables`)."""
