"""The tests can fail: each deliberate mistake in the library is caught by the tests named.

A mistake is one replaced text in a copy of the library; the tests then run against the copy.
"""

from __future__ import annotations

import os
import shutil

import pytest
from forking import forked, module
from workspace import PROJECT, compiled

MISTAKES = {
    "LiRA takes IN for OUT": (
        "metrics/membership.py",
        "_log_density(target, *inside) - _log_density(target, *outside)",
        "_log_density(target, *outside) - _log_density(target, *inside)",
        "test_membership.py::test_lira_is_the_likelihood_ratio_of_two_gaussians",
    ),
    "an AUC that gives ties to the members": (
        "metrics/roc.py",
        "return (below + up_to) / (2 * len(ranked))",
        "return up_to / len(ranked)",
        "test_membership.py::test_auc_counts_pairs_and_half_of_the_ties",
    ),
    "a target among its own U-LiRA pool": (
        "metrics/membership.py",
        "np.delete(side, seed, axis=0)",
        "np.delete(side, 0, axis=0)",
        "test_membership.py::test_u_lira_leaves_the_scored_seed_out",
    ),
    "a divergence without its mixture": (
        "metrics/oracle_distance.py",
        "_kl_bits(a, middle) + _kl_bits(b, middle)",
        "_kl_bits(a, b) + _kl_bits(b, a)",
        "test_oracle_distance.py",
    ),
    "the attack compares with retained images": (
        "stages/attack.py",
        'forgotten_kind(outputs["test_labels"], split)',
        '~forgotten_kind(outputs["test_labels"], split)',
        "test_measure.py::test_the_candidates_are_forgotten_and_unseen_images_of_the_same_kind",
    ),
    "the expected accuracy of a list counts its classes once": (
        "metrics/accuracy.py",
        "np.average(found, weights=counts)",
        "np.average(found)",
        "test_forget_lists.py::test_the_expected_accuracy_has_the_classes_of_the_list",
    ),
    "a list that moved is another forget set": (
        "plan/grid.py",
        '"sha256": one.sha256, "images"',
        '"path": one.path, "sha256": one.sha256, "images"',
        "test_forget_lists.py::test_the_content_of_a_list_identifies_its_forget_set",
    ),
    "a sub-class by its super-class's test images": (
        "data/splits.py",
        'np.isin(np.arange(len(test_labels)), split["forget_test"])',
        'np.isin(test_labels, split["forget_test"])',
        "test_superclasses.py::test_the_sub_class_is_forgotten_and_its_test_images_are_measured_apart",
    ),
    "images of one's own that are held out in the folder's order": (
        "data/own_images.py",
        "rng.choice(len(images), count, replace=False).tolist()",
        "range(count)",
        "test_own_images.py::test_the_held_out_share_is_drawn_by_class_and_seed",
    ),
    "shadow models that saw everything": (
        "stages/shadow.py",
        "first = order < count // 2",
        "first = order < count",
        "test_measure.py::test_halves_are_random_balanced_and_complementary",
    ),
    "resamples of cells in place of seeds": (
        "stats/summary.py",
        "rows, n = values.mean(axis=1), len(values)",
        "rows, n = values.ravel(), values.size",
        "test_stats.py::test_few_seeds_have_student_s_interval_of_the_row_means",
    ),
    "cells of one class taken as independent": (
        "stats/crossed.py",
        "(*(pd.factorize(level)[0] for level in levels_of), np.arange(n))",
        "(np.arange(n),)",
        "test_crossed.py::test_a_difference_that_only_cells_tell_apart_is_not_told_apart",
    ),
    "ranks over cells": (
        "stats/crossed.py",
        "return cells.groupby(splits, sort=False).mean(), ",
        "return cells, ",
        "test_crossed.py::test_ranks_are_over_classes_with_seeds_averaged",
    ),
    "an over-forgotten model that passes": (
        "claims/verdicts.py",
        "(values - 0.5).abs()",
        "values",
        "test_claims.py::test_an_attack_that_is_turned_round_tells_as_much",
    ),
    "a claim that holds as doing nothing does": (
        "claims/verdicts.py",
        "mask(idle, IDLE)",
        "mask(idle, HOLDS)",
        "test_claims.py::test_a_claim_that_doing_nothing_passes_does_not_discriminate",
    ),
    "no correction for many tests": (
        "stats/comparisons.py",
        "factors = np.arange(len(order), 0, -1)",
        "factors = np.ones(len(order))",
        "test_stats.py::test_holm_by_hand",
    ),
    "a centroid's row is taken for its class": (
        "methods/duck.py",
        "labels[:, None] == torch.tensor(classes, device=labels.device)",
        "labels[:, None] == torch.arange(len(classes), device=labels.device)",
        "test_duck.py",
    ),
    "the farthest centroid": (
        "methods/duck.py",
        "torch.inf).argmin(1)",
        "-1).argmax(1)",
        "test_duck.py",
    ),
    "R + 1 updates": (
        "methods/duck.py",
        "settings.batch_ratio):",
        "settings.batch_ratio + 1):",
        "test_duck.py",
    ),
    "no temperature": (
        "methods/duck.py",
        "model(images) / settings.temperature",
        "model(images)",
        "test_duck.py",
    ),
    "targets by place in the batch": (
        "methods/duck.py",
        "images, targets[positions]",
        "images, targets[: len(images)]",
        "test_duck.py",
    ),
    "a stop test that never passes": (
        "methods/base.py",
        "self.stopped = seen < rule.forget_target",
        "self.stopped = False",
        "test_duck.py",
    ),
    "descent in place of ascent": (
        "methods/negative_gradient.py",
        "return -cross_entropy",
        "return cross_entropy",
        "test_methods.py::test_descent_and_climb_equal_sgd_by_hand",
    ),
    "random labels from all classes": (
        "methods/random_labels.py",
        "problem.retained_classes",
        "list(range(problem.classes))",
        "test_methods.py::test_random_labels_equal_sgd_by_hand_on_the_labels_drawn",
    ),
    "the attack in normalised units": (
        "methods/boundary_shrink.py",
        "epsilon / std * gradient",
        "epsilon * gradient",
        "test_boundary.py",
    ),
    "the removed output stays": (
        "methods/boundary_expanding.py",
        "narrowed(model.head)",
        "model.head",
        "test_boundary.py",
    ),
    "a true label is not masked": (
        "methods/delete.py",
        "(labels[:, None] == columns) | forgotten",
        "forgotten",
        "test_delete.py",
    ),
    "one max pass more than named": (
        "methods/scrub.py",
        "epoch < settings.max_steps",
        "epoch <= settings.max_steps",
        "test_scrub.py",
    ),
    "both batches are climbed": (
        "methods/negative_gradient_plus.py",
        "beta * retain - (1 - beta)",
        "-beta * retain - (1 - beta)",
        "test_negative_gradient_plus.py",
    ),
    "important weights are kept": (
        "methods/ssd.py",
        "forget > alpha * whole",
        "forget < alpha * whole",
        "test_ssd.py",
    ),
    "a class next to its own": (
        "methods/scar.py",
        "masked_fill(own, torch.inf)",
        "masked_fill(~own, torch.inf)",
        "test_scar.py",
    ),
    "the channels of the class pass": (
        "methods/erm_ktp.py",
        "<= 0).all(0)",
        ">= 0).all(0)",
        "test_erm.py",
    ),
    "R + 1 updates without the switch": (
        "methods/duck_released.py",
        "settings.batch_ratio + settings.extra_step",
        "settings.batch_ratio + 1",
        "test_duck_released.py",
    ),
    "the worst candidate is chosen": (
        "stages/tune.py",
        '-pair[0]["objective"]',
        'pair[0]["objective"]',
        "test_tune.py::test_the_highest_mean_less_its_spread_is_chosen_and_the_first_of_equals",
    ),
    "a library that leaves its seed behind": (
        "library/unlearn.py",
        "            random.setstate(kept[0])",
        "            pass",
        "test_library.py::test_the_model_its_modes_and_the_global_generators_stay",
    ),
    "images of a user read by their place in the batch": (
        "data/samples.py",
        "return images[back], labels[back]",
        "return images, labels",
        "test_library.py::test_positions_of_several_parts_keep_their_order",
    ),
    "outputs of a given model in another order": (
        "models/foreign.py",
        "theirs.index(name) for name in ours",
        "ours.index(name) for name in theirs",
        "test_own_model.py::test_outputs_are_put_into_the_order_of_the_classes",
    ),
    "a given model known by its path": (
        "plan/identity.py",
        '{"weights_sha256": _hash(weights)}',
        '{"weights_sha256": str(weights)}',
        "test_own_model.py::test_the_identity_is_the_content_and_not_the_path",
    ),
    "no guard of the data": (
        "methods/base.py",
        "if part not in self.touches:",
        "if False:",
        "test_methods.py::test_data_that_are_not_declared_cannot_be_asked_for",
    ),
    "momentum lost at a resume": (
        "training/loop.py",
        '"state": slots})',
        '"state": {}})',
        "test_training.py::test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one",
    ),
    "the order of the images lost at a resume": (
        "training/checkpoint.py",
        'generator.set_state(states["own"])',
        "pass",
        "test_resume_unlearning.py::test_other_forget_sets",
    ),
    "one order for every epoch": (
        "training/loop.py",
        "manual_seed(seed_for(seed, epoch))",
        "manual_seed(seed_for(seed))",
        "test_training.py",
    ),
    "crop without its rows": (
        "data/batches.py",
        "torch.arange(height, device=device) + offsets[1]",
        "torch.arange(height, device=device) + 0 * offsets[1]",
        "test_training.py::test_augmentation_is_one_flip_and_crop_of_the_padded_image_for_each_sample",
    ),
    "the oracle keeps the forgotten": (
        "data/splits.py",
        "mask[forget] = False",
        "pass",
        "test_splits.py",
    ),
    "retain and forget exchanged": (
        "metrics/accuracy.py",
        "accuracy(train, retain)",
        "accuracy(train, forget)",
        "test_splits.py",
    ),
    "AUS with the wrong sign": (
        "metrics/aus.py",
        "test_accuracy)) / (1 + gap)",
        "test_accuracy)) / (1 - gap)",
        "test_aus.py",
    ),
    "a checksum that is not compared": (
        "data/download.py",
        "if (found, size) not in known:",
        "if False:",
        "test_sources.py::test_wrong_download_is_refused_and_deleted",
    ),
    "an archive that is not scanned": (
        "data/archives.py",
        "def scan(",
        "def scan(*_): pass\ndef _unused(",
        "test_sources.py::test_hostile_member_is_refused",
    ),
    "any pickle is trusted": (
        "data/pickles.py",
        "_ArraysOnly(content, where)",
        "pickle.Unpickler(io.BytesIO(content), encoding='latin1')",
        "test_sources.py::test_malicious_pickle_is_refused_and_not_run",
    ),
    "pretrained weights that may run code": (
        "data/weights.py",
        "weights_only=True)",
        "weights_only=False)",
        "test_weights.py::test_a_pickle_with_code_is_refused_and_not_run",
    ),
    "an unknown key is let through": (
        "recipe.py",
        'extra="forbid"',
        'extra="ignore"',
        "test_config.py::test_an_error_names_the_file_the_key_and_what_would_be_right",
    ),
    "a docstring counts as code": (
        "records/provenance.py",
        "node.body = body[1:] or [ast.Pass()]",
        "pass",
        "test_provenance.py::test_comments_docstrings_and_layout_do_not_count",
    ),
    "the removed class keeps its wrong points": (
        "analysis/density.py",
        "wanted ^ np.isin(",
        "wanted & ~np.isin(",
        "test_density.py",
    ),
    "a margin against the own centroid": (
        "analysis/geometry.py",
        "np.where(own, np.inf, distances)",
        "distances",
        "test_geometry.py",
    ),
    "half an effect size": (
        "stats/comparisons.py",
        "2 * test.statistic / len",
        "test.statistic / len",
        "test_rank_tests.py",
    ),
    "attributions that do not add up": (
        "analysis/attributions.py",
        "found.values[0].sum(2)",
        "found.values[0].mean(2) / 2",
        "test_attributions.py",
    ),
    "the square's strength turned round": (
        "analysis/shortcut.py",
        'found["patched_label"] - found["clean_label"]',
        'found["clean_label"] - found["patched_label"]',
        "test_shortcut.py",
    ),
    "a gradient through moving centroids": (
        "methods/duck_ablated.py",
        "kept.detach()",
        "kept",
        "test_duck_ablated.py::test_no_gradient_flows_through_a_moving_centroid",
    ),
    "half a file under a final name": (
        "files.py",
        "yield temporary\n            os.fsync",
        "yield final\n            os.fsync",
        "test_provenance.py::test_the_old_file_is_there_until_the_new_one_is_whole",
    ),
    "images of a folder that are not the published ones": (
        "data/folders.py",
        "if found[key] != expected:",
        "if False:",
        "test_folders.py::test_content_other_than_the_catalogues_is_refused",
    ),
    "a part scored beside a later part's oracle alone": (
        "plan/grid.py",
        "for part in experiment.listed[:number]:",
        "for part in experiment.listed[:0]:",
        "test_parts.py::test_a_part_is_scored_by_itself_and_again_beside_the_oracle",
    ),
    "a crop that mirrors the edge twice": (
        "data/batches.py",
        "return size - 1 - (size - 1 - positions.abs()).abs()",
        "return size - 1 - (size - 1 - positions.abs()).clamp(min=0)",
        "test_recipe.py",
    ),
    "a training in bfloat16 that goes on in float32": (
        "runtime/device.py",
        "    if started(wanted):",
        "    if False:",
        "test_precision.py::test_where_the_run_allows_it_a_new_job_is_float32_and_a_started_one_waits",
    ),
    "a stop test on a share in float32": (
        "training/loop.py",
        "return correct / len(labels)",
        "return torch.tensor(correct / len(labels)).item()",
        "test_release_steps.py::test_the_share_that_equals_the_target_does_not_stop",
    ),
    "the band on the side that is not claimed": (
        "report/marks.py",
        '"above": [(places[-1], WIDTH)]',
        '"above": [(0.0, places[-1])]',
        "test_report_answer.py::test_the_band_is_the_claimed_side",
    ),
    "the weakest of the claims that fail": (
        "report/answer.py",
        'sort_values(kind="stable"',
        'sort_values(ascending=False, kind="stable"',
        "test_report_answer.py::test_the_strongest_claim_that_fails_has_the_smallest_p",
    ),
}


def run_against_a_copy(folder, tests, edit=None):
    """Pytest's exit status and output for `tests` with a copy of the library, edited."""
    source, log = folder / "src", folder / "log"
    shutil.copytree(compiled() / "src", source)
    shutil.copytree(PROJECT / "configs", folder / "configs")
    for part in ("figures", "paper", "workflow"):
        (folder / part).symlink_to(PROJECT / part)
    if edit:
        file, old, new = edit
        path = source / "unlearning" / file
        text = path.read_text()
        assert old in text, f"{old!r} is no longer in {file}: mend this test"
        path.write_text(text.replace(old, new))
    words = ["-x", "-q", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    place = {"log": log, "folder": PROJECT, "environment": environment}
    status = forked(module, "pytest", *words, timeout=1000, **place)
    return status, log.read_text()[-2000:]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(mistake, tmp_path):
    file, old, new, tests = MISTAKES[mistake]
    status, text = run_against_a_copy(tmp_path, [tests], (file, old, new))
    assert status == 1, text


def test_an_unchanged_copy_passes(tmp_path):
    """Each single test named above, and of the whole files one."""
    named = [tests for *_, tests in MISTAKES.values() if "::" in tests]
    status, text = run_against_a_copy(tmp_path, ["test_duck.py", *named])
    assert status == 0, text
