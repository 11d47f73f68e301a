"""The search: candidates from the settings files, their ranking, and what is written back."""

from __future__ import annotations

import csv
import json
import sys

import pytest
import yaml
from conftest import METHOD_FILES, ROOT

from unlearning import hyperparameters, methods
from unlearning.config import ConfigError, parse, tuning_experiment
from unlearning.stages import tune

sys.path.insert(0, str(ROOT / "workflow/scripts"))
from adopt_tuning import MARK, winners, with_winners

TRACES = sorted((ROOT / "paper/reference/tuning").glob("*.csv"))
PROFILES = {"mini": "fashion_mnist_mini", "fashion": "fashion_mnist"}
NOT_SEARCHED = {"original", "oracle", "original_erm", "duck_released", "duck_ablated"}
SEARCHED = [m for m in hyperparameters.known_methods(METHOD_FILES) if m not in NOT_SEARCHED]


def experiment(**changes):
    raw = {
        "dataset": "d",
        "arch": "small_cnn",
        "training": {"epochs": 1, "batch_size": 1, "lr": 0.1},
        "scenarios": {"class_removal": {"forget": [0]}},
        "methods": ["duck", "ssd"],
        "train_seeds": [0],
        "tuning": {
            "budget": 2,
            "train_seeds": [3, 4],
            "scenarios": {"class_removal": {"forget": [1]}},
        },
    }
    return parse({"run": "r", "experiments": [raw | changes]}, "f").experiments[0]


def test_the_search_is_an_experiment_on_held_out_images():
    found = tuning_experiment(experiment(), {"duck": [{"lr": 0.1}, {"lr": 0.2}], "ssd": []})
    assert found.evaluation == "validation" and found.label == "d-small_cnn-tuning"
    assert found.train_seeds == [3, 4] and found.scenarios.class_removal.forget == [1]
    given = [(v.name, v.method, v.settings) for v in found.variants[2:]]
    assert given == [
        ("duck-1", "duck", {"lr": 0.1}),
        ("duck-2", "duck", {"lr": 0.2}),
        ("ssd", "ssd", {}),
    ]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", SEARCHED)
def test_every_method_has_the_same_budget(method, profile):
    raw = yaml.safe_load((ROOT / f"configs/{profile}.yaml").read_text())["experiments"][0]
    kind = {"dataset": PROFILES[profile], "arch": "small_cnn"}
    found = hyperparameters.candidates(method, kind, METHOD_FILES)
    assert len(found) == raw["tuning"]["budget"]
    assert len({json.dumps(c, sort_keys=True) for c in found}) == len(found)
    settings = methods.load(method).Settings
    for candidate in found:
        cell = kind | {"scenario": "class_removal"}
        settings(**hyperparameters.resolve(method, cell, candidate, METHOD_FILES))


def rows(scores, method="duck", status="ok"):
    """One row a cell, as `collect` gives them; scores: by candidate, one a seed."""
    return [
        {
            **{"experiment": "e", "dataset": "d", "arch": "a", "scenario": "class_removal"},
            **{"base_method": method, "method": name, "status": status},
            **{"aus": score, "unlearning_seconds": 2.0},
        }
        for name, values in scores.items()
        for score in values
    ]


@pytest.fixture
def config():
    candidates = {"duck": [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]}
    found = tuning_experiment(experiment(), candidates)
    raw = {"run": "r", "experiments": [found.model_dump()]}
    return parse(raw, "f")


def test_the_highest_mean_is_chosen_and_the_first_of_equals(config):
    scores = {"duck-1": [0.8, 0.9], "duck-2": [0.9, 0.9], "duck-3": [1.0, 0.8]}
    found = tune.trace(rows(scores), config)
    assert [(r["candidate"], r["rank"], r["chosen"]) for r in found] == [
        ("duck-1", 3, ""),
        ("duck-2", 1, "yes"),
        ("duck-3", 2, ""),
    ]
    assert found[0]["aus_mean"] == pytest.approx(0.85)
    assert found[0]["aus_sd"] == pytest.approx(0.1 / 2**0.5)


def test_a_candidate_that_diverged_is_shown_and_never_chosen(config):
    good, bad = rows({"duck-1": [0.5]}), rows({"duck-2": [None]}, status="diverged")
    found = {r["candidate"]: r for r in tune.trace(good + bad, config)}
    assert found["duck-2"]["status"] == "diverged" and "rank" not in found["duck-2"]
    assert found["duck-1"]["chosen"] == "yes"
    text = tune.as_csv(found.values())
    assert "duck-2" in text and text.count("yes") == 1


def test_references_are_no_candidates(config):
    assert tune.trace(rows({"original": [0.9]}, method="original"), config) == []


def test_the_winners_are_written_without_exponents(tmp_path):
    trace = tmp_path / "mini.csv"
    with open(trace, "w", newline="") as handle:
        writer = csv.DictWriter(handle, tune.COLUMNS, restval="")
        writer.writeheader()
        for name, chosen in (("duck-1", ""), ("duck-2", "yes")):
            settings = json.dumps({"lr": 0.00002, "epochs": 3, "milestones": [1]})
            cell = {"dataset": "d", "arch": "a", "scenario": "s", "method": "duck"}
            writer.writerow(cell | {"candidate": name, "settings": settings, "chosen": chosen})
    blocks = winners([trace])
    text = with_winners("defaults: {}\n", blocks["duck"])
    found = yaml.safe_load(text)["tuned"]
    assert found[0]["settings"] == {"lr": 0.00002, "epochs": 3, "milestones": [1]}
    assert found[0]["when"] == {"dataset": "d", "arch": "a", "scenario": "s"}
    assert "of 2 on held-out" in found[0]["source"]
    assert with_winners(text, blocks["duck"]) == text
    assert with_winners(text, []) == "defaults: {}\n"


def test_the_settings_in_use_are_the_winners_of_the_committed_traces():
    assert "mini" in [trace.stem for trace in TRACES]
    found = winners(TRACES)
    assert set(found) == set(SEARCHED)
    for method in hyperparameters.known_methods(METHOD_FILES):
        text = (METHOD_FILES / f"{method}.yaml").read_text(encoding="utf-8")
        assert with_winners(text, found.get(method, [])) == text, method
        assert (MARK in text) == (method in found)


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_trace_holds_every_candidate_and_one_winner_a_scenario(trace):
    with open(trace, newline="", encoding="utf-8") as handle:
        table = list(csv.DictReader(handle))
    groups = {}
    for row in table:
        groups.setdefault((row["method"], row["scenario"]), []).append(row)
    for (method, scenario), members in groups.items():
        kind = {"dataset": PROFILES[trace.stem], "arch": "small_cnn"}
        declared = hyperparameters.candidates(method, kind, METHOD_FILES)
        assert [json.loads(row["settings"]) for row in members] == declared
        best = max((r for r in members if r["aus_mean"]), key=lambda r: float(r["aus_mean"]))
        assert [r["candidate"] for r in members if r["chosen"]] == [best["candidate"]]
        assert hyperparameters.defined(method, scenario, METHOD_FILES)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"grid": {"lr": 0.1}}, "should be a list"),
        ({"grid": {"lr": ["fast"]}}, "should be a float"),
        ({"grid": {"rate": [0.1]}}, "unknown key 'rate'"),
        ({"grid": {}, "settings": {"rate": 1}}, "unknown key 'rate'"),
        ({"grid": {}, "when": {"scenario": "class_removal"}}, "unknown key 'scenario'"),
    ],
)
def test_a_mistaken_search_is_named(block, says, tmp_path):
    whole = {"when": {"dataset": "d"}, "settings": {}, "grid": {}} | block
    text = {"defaults": {"source": "s", "settings": {"lr": 0.1}}, "search": [whole]}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(ConfigError, match=says):
        hyperparameters.load(tmp_path / "m.yaml")
