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


@pytest.fixture(scope="module", params=RUNS)
def studies(request):
    folder = RUNS[request.param].parent
    if not (folder / "studies.csv").exists() and request.param == "made here":
        pytest.skip("results/mini holds no studies: `snakemake understanding` makes them")
    names = ("studies", "shortcut", "features", "attributions")
    return {name: pd.read_csv(folder / f"{name}.csv") for name in names}


def test_ducks_unlearning_removes_a_shortcut_that_fine_tuning_keeps(studies):
    found = studies["shortcut"].set_index(["method", "measure"])["value"]
    assert found["original", "strength"] > 0.8 and abs(found["oracle", "strength"]) < 0.1
    assert found["duck", "strength"] < 0.2 and found["fine_tuning", "strength"] > 0.5
    mass = {name: found[name, "attribution_mass"] for name in ("original", "duck", "oracle")}
    assert mass["original"] > 5 * found["original", "patch_area"]
    assert max(mass["duck"], mass["oracle"]) < mass["original"] / 2


def test_duck_forgets_most_classes_at_once(studies):
    found = studies["studies"]
    many = found[(found["study"] == "multiple_classes") & (found["classes_removed"] == 8)]
    aus = many.groupby("method")["aus"].mean()
    assert aus["duck"] > aus["oracle"] - 0.05 and aus["original"] < aus["duck"] - 0.1


def test_forgotten_images_go_where_ducks_centroids_are(studies):
    features = studies["features"]
    found = features[
        features["measure"].isin(["reached", "margin"]) & (features["part"] == "forget")
    ]
    means = found.groupby(["model", "layer", "measure"])["value"].mean()
    assert means["duck", "embedding", "reached"] > 0.7
    assert means["duck", "embedding", "margin"] < means["original", "embedding", "margin"] / 2


def test_the_loss_needs_its_retain_part(studies):
    found = studies["studies"]
    aus = found[found["study"] == "ablation"].groupby("method")["aus"].mean()
    assert aus["no_retain_loss"] < aus["duck"] - 0.05


def test_ducks_attributions_are_nearer_to_the_oracles_than_the_originals_are(studies):
    mean = studies["attributions"].groupby(["output", "pair"])["correlation"].mean()
    assert len(studies["attributions"]["image"]) >= 50
    for output in ("true", "assigned"):
        assert mean[output, "duck~oracle"] > mean[output, "original~oracle"]
