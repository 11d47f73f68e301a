"""What DUCK must show on the embedded default, on the committed run and on one made here."""

from __future__ import annotations

import pandas as pd
import pytest
from workspace import PROJECT

RUNS = {
    "reference": PROJECT / "paper/reference/mini/runs.csv",
    "made here": PROJECT / "results/mini/runs.csv",
}


@pytest.fixture(scope="module", params=RUNS)
def runs(request):
    path = RUNS[request.param]
    if not path.exists() and request.param == "made here":
        pytest.skip("results/mini is not there: `make reproduce` makes it")
    return pd.read_csv(path)


def mean(runs, method, scenario, column):
    chosen = runs[(runs.method == method) & (runs.scenario == scenario)]
    assert chosen.train_seed.nunique() == 2
    assert (chosen.status == "ok").all()
    return chosen[column].mean()


def test_duck_forgets_a_class(runs):
    assert mean(runs, "duck", "class_removal", "forget_test_accuracy") <= 0.02


def test_duck_retains_the_other_classes(runs):
    duck = mean(runs, "duck", "class_removal", "retain_test_accuracy")
    assert duck >= mean(runs, "oracle", "class_removal", "retain_test_accuracy") - 0.04


def test_ducks_aus_in_class_removal(runs):
    assert mean(runs, "duck", "class_removal", "aus") >= 0.93


def test_ducks_aus_in_homogeneous_removal_is_not_below_the_originals(runs):
    original = mean(runs, "original", "homogeneous_removal", "aus")
    assert mean(runs, "duck", "homogeneous_removal", "aus") >= original


def test_the_oracle_never_saw_the_class(runs):
    assert mean(runs, "oracle", "class_removal", "forget_test_accuracy") == 0.0
    assert mean(runs, "original", "class_removal", "forget_test_accuracy") > 0.7


def test_original_is_about_85_percent(runs):
    assert 0.82 <= mean(runs, "original", "class_removal", "test_accuracy") <= 0.92


@pytest.mark.parametrize("scenario", ["class_removal", "homogeneous_removal"])
def test_lira_finds_the_original_and_not_the_oracle_and_duck_is_near_the_oracle(runs, scenario):
    original, oracle, duck = (
        mean(runs, name, scenario, "lira_auc") for name in ("original", "oracle", "duck")
    )
    assert original > 0.55
    assert abs(oracle - 0.5) < 0.06
    assert abs(duck - oracle) < (original - oracle) / 2


def test_ducks_outputs_are_nearer_to_the_oracles_than_the_originals_are(runs):
    duck, original = (
        mean(runs, name, "class_removal", "js_forget") for name in ("duck", "original")
    )
    assert duck < original / 2
