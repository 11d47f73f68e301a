"""The search: candidates from the settings files, their ranking, and what is written back."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import METHOD_FILES, ROOT
from scipy.stats import qmc

from unlearning import methods
from unlearning.config import hyperparameters, spaces
from unlearning.config.parsing import ConfigError, parse
from unlearning.plan import grid, identity
from unlearning.plan.tuning import search as search_of
from unlearning.plan.tuning import tuning_experiment
from unlearning.stages import tune

sys.path.insert(0, str(ROOT / "workflow/scripts"))
from adopt_tuning import MARK, second_rounds, too_small, winners, with_winners

TRACES = sorted((ROOT / "paper/reference/tuning").glob("*.csv"))
PROFILES = {"mini": "fashion_mnist_mini", "fashion": "fashion_mnist"}
NOT_SEARCHED = {"original", "oracle", "original_erm", "duck_released", "duck_ablated"}
SEARCHED = [m for m in hyperparameters.known_methods(METHOD_FILES) if m not in NOT_SEARCHED]


def experiment(**changes):
    raw = {
        "dataset": "d",
        "arch": "strided_cnn",
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


def cell_of(profile, scenario="class_removal"):
    return {"dataset": PROFILES[profile], "arch": "strided_cnn", "scenario": scenario}


def test_a_search_on_a_share_gives_methods_a_share_and_keeps_the_run_as_it_is():
    tuning = {
        "budget": 2,
        "share": "1/8",
        "train_seeds": [3, 4],
        "scenarios": {"class_removal": {"forget": [1]}},
    }
    whole = experiment(tuning=tuning)
    found = tuning_experiment(whole, {"class_removal": {"duck": [{"lr": 0.1}]}})
    assert (found.given, found.retain_evaluated) == ("1/8", 1000) and whole.given is None
    (cell,) = [c for c in grid.cells_of(found) if c.method == "duck-1" and c.train_seed == 3]
    assert identity.unlearned(found, cell)["given"] == "1/8"
    for wrong in ("8", "1/0", "2/8", 0.125):
        with pytest.raises(ConfigError, match="share"):
            experiment(tuning=tuning | {"share": wrong})


def test_the_search_is_an_experiment_on_held_out_images():
    tried = {"duck": [{"lr": 0.1}, {"lr": 0.2}], "original_erm": []}
    found = tuning_experiment(experiment(), {"class_removal": tried})
    assert found.evaluation == "validation" and found.label == "d-strided_cnn-tuning"
    (part,) = found.parts
    assert found.train_seeds == [3, 4] and part.scenarios.class_removal.forget == [1]
    assert [(v.name, v.method, v.settings) for v in part.methods] == [
        ("duck-1", "duck", {"lr": 0.1}),
        ("duck-2", "duck", {"lr": 0.2}),
        ("duck-published", "duck", {}),
        ("original_erm", "original_erm", {}),
    ]


def test_scenarios_share_a_candidate_only_where_its_settings_are_the_same():
    both = {
        "train_seeds": [3],
        "scenarios": {
            "class_removal": {"forget": [1]},
            "homogeneous_removal": {"fraction": 0.1, "split_seeds": [0]},
        },
    }
    tried = {
        "class_removal": {"duck": [{"lr": 0.1}, {"lr": 0.2}]},
        "homogeneous_removal": {"duck": [{"lr": 0.3}, {"lr": 0.2}]},
    }
    found = tuning_experiment(experiment(tuning=both), tried)
    names = [[variant.name for variant in part.methods] for part in found.parts]
    given = "duck-published"
    assert names == [["duck-1", "duck-2", given], ["duck-3", "duck-2", given]]
    assert found.parts[1].scenarios.class_removal is None


def test_the_points_are_those_of_a_sobol_sequence():
    space = {f"x{place}": {"linear": [0.0, 1.0]} for place in range(5)}
    found = spaces.points(space, {}, 128)
    expected = qmc.Sobol(5, scramble=True, rng=2312).random(128)
    assert [list(point.values()) for point in found] == [
        [float(f"{value:.3g}") for value in row] for row in expected
    ]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", SEARCHED)
def test_every_method_has_the_same_budget(method, profile):
    tuning = tuning_of(profile)
    assert tuning["budget"] >= 16
    for scenario in tuning["scenarios"]:
        cell = cell_of(profile, scenario)
        found = hyperparameters.candidates(method, cell, tuning["budget"], METHOD_FILES)
        rounds = len(hyperparameters.searched_space(method, cell, METHOD_FILES)[1])
        assert len({json.dumps(c, sort_keys=True) for c in found}) == rounds * tuning["budget"]
        assert 1 <= rounds <= 2
        settings = methods.load(method).Settings
        for candidate in found:
            chosen = hyperparameters.resolve(method, cell, candidate, METHOD_FILES)
            settings(**methods.in_images(method, chosen, 240, 2160, 9))


def tuning_of(profile):
    return yaml.safe_load((ROOT / f"configs/{profile}.yaml").read_text())["experiments"][0][
        "tuning"
    ]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_search_has_three_sets_and_two_seeds_that_the_run_does_not_report(profile):
    whole = yaml.safe_load((ROOT / f"configs/{profile}.yaml").read_text())["experiments"][0]
    tuning = whole["tuning"]
    assert len(tuning["train_seeds"]) >= 2
    for scenario, key in (("class_removal", "forget"), ("homogeneous_removal", "split_seeds")):
        searched = tuning["scenarios"][scenario][key]
        assert len(searched) >= 3
        assert not {*searched} & {*whole["scenarios"][scenario][key]}
    assert not {*tuning["train_seeds"]} & {*whole["train_seeds"]}


@pytest.mark.parametrize("method", SEARCHED)
def test_search_and_run_make_the_same_number_of_steps(method):
    """The search has four fifths of the images: of a class of 300, 240 are to be forgotten."""
    cell = cell_of("mini")
    shares = hyperparameters.searched_space(method, cell, METHOD_FILES)[0]
    parts = methods.batches_of(method)
    for candidate in hyperparameters.candidates(method, cell, 16, METHOD_FILES):
        settings = shares | candidate
        for forget, retain in ((300, 2700), (6000, 54_000)):
            run, search = (
                methods.in_images(method, settings, round(f * forget), round(f * retain), 9)
                for f in (1, 0.8)
            )
            for key, part in parts.items():
                if not key.endswith("batch_size"):
                    continue
                whole = {"forget": forget, "retain": retain, "both": forget + retain}[part]
                steps = math.ceil(whole / run[key]), math.ceil(0.8 * whole / search[key])
                assert steps[0] == steps[1] == int(settings[key][2:])


def test_integers_mean_images_as_published():
    settings = {"batch_size": 256, "forget_batch_size": "1/4", "lr": 0.1}
    found = methods.in_images("scrub", settings, 300, 2700)
    assert found == {"batch_size": 256, "forget_batch_size": 75, "lr": 0.1}
    assert methods.in_images("ssd", {"batch_size": "1/4"}, 300, 2700) == {"batch_size": "1/4"}


def test_the_learning_rate_spans_three_decades_around_the_published_one():
    cell = {"dataset": "cifar100", "arch": "resnet18", "scenario": "class_removal"}
    published = hyperparameters.resolve("fine_tuning", cell, {}, METHOD_FILES)["lr"]
    rates = sorted(
        c["lr"] / published
        for c in hyperparameters.candidates("fine_tuning", cell, 64, METHOD_FILES)
    )
    assert 10**-1.5 <= rates[0] < 10**-1.4 and 10**1.4 < rates[-1] <= 10**1.5
    # One point in each of 64 equal parts of the decades: a Sobol sequence is that even.
    cells = {int(64 * (math.log10(rate) / 3 + 0.5)) for rate in rates}
    assert len(cells) >= 60


def test_candidates_of_all_methods_lie_at_the_same_places():
    def places(method):
        cell = cell_of("mini")
        _, (space, *_) = hyperparameters.searched_space(method, cell, METHOD_FILES)
        published = hyperparameters.around(method, cell, METHOD_FILES)
        found = hyperparameters.candidates(method, cell, 16, METHOD_FILES)
        return [spaces.places(space, published, point)["lr"] for point in found]

    assert places("duck") == pytest.approx(places("salun"), abs=0.002)
    assert {int(16 * place) for place in places("duck")} == set(range(16))


def test_a_new_data_set_is_searched_like_any_other():
    cell = {"dataset": "mnist", "arch": "strided_cnn", "scenario": "class_removal"}
    for method in SEARCHED:
        assert len(hyperparameters.candidates(method, cell, 16, METHOD_FILES)) == 16, method


def written(folder, **blocks):
    """A method's file, and the candidates that it has."""
    text = {"defaults": {"source": "s", "settings": {"lr": 0.1, "epochs": 5}}} | blocks
    (folder / "m.yaml").write_text(yaml.safe_dump(text))
    hyperparameters.load.cache_clear()
    cell = {"dataset": "d", "arch": "a", "scenario": "class_removal"}
    return lambda: hyperparameters.candidates("m", cell, 4, folder)


def test_a_method_that_declares_no_space_has_the_common_one(tmp_path):
    found = written(tmp_path)()
    assert len(found) == 4 and all(set(point) == {"lr", "epochs"} for point in found)


def test_a_method_with_nothing_to_search_is_named(tmp_path):
    settings = {"defaults": {"source": "s", "settings": {"alpha": 0.1}}}
    with pytest.raises(ConfigError, match=r"m.yaml: search: no space"):
        written(tmp_path, **settings)()


def test_a_second_round_doubles_the_candidates_where_it_is_declared(tmp_path):
    second = {"source": "s", "space": {"lr": {"log": [1.0, 2.0]}, "epochs": {"log": [1, 4]}}}
    found = written(tmp_path, second=[second | {"when": {"scenario": "class_removal"}}])()
    assert len(found) == 8
    assert all(point["lr"] <= 0.1 * 10**1.5 for point in found[:4])
    assert all(1 <= point["lr"] <= 2 and point["epochs"] <= 4 for point in found[4:])
    found = written(tmp_path, second=[second | {"when": {"scenario": "homogeneous_removal"}}])()
    assert len(found) == 4


SPACE = {"lr": {"decades": 3}, "epochs": {"log": [1, 20]}, "beta": {"linear": [0.5, 0.9]}}
PUBLISHED = {"lr": 0.01, "epochs": 10, "beta": 0.8}


@pytest.mark.parametrize(
    ("point", "edges"),
    [
        ({"lr": 0.01, "epochs": 5, "beta": 0.9}, []),
        ({"lr": 0.0004, "epochs": 5, "beta": 0.7}, ["lr"]),
        ({"lr": 0.0005, "epochs": 1, "beta": 0.7}, []),
        ({"lr": 0.3, "epochs": 20, "beta": 0.5}, ["lr", "epochs"]),
    ],
)
def test_the_outermost_sixteenth_is_the_edge_where_there_is_more_beyond(point, edges):
    assert spaces.at_edge(SPACE, PUBLISHED, point) == edges


def test_a_second_space_is_around_the_winner_and_reaches_beyond_the_edge():
    point = {"lr": 0.3, "epochs": 4, "beta": 0.89}
    found = spaces.around(SPACE, PUBLISHED, point)
    low, high = found["lr"]["log"]
    assert (low * high) ** 0.5 == pytest.approx(0.3, rel=0.01)
    assert high / low == pytest.approx(1000, rel=0.02)
    low, high = found["epochs"]["log"]
    assert 1 <= low < 4 < high < 10
    assert spaces.around(SPACE, PUBLISHED, point | {"epochs": 9})["epochs"]["log"][1] == 10
    assert found["beta"]["linear"] == [0.79, 0.9]
    assert spaces.check(found, PUBLISHED) == ""


def rows(scores, method="duck", status="ok"):
    """One row a cell, as `collect` gives them; scores: by candidate, one a seed."""
    return [
        {
            **{"experiment": "e", "dataset": "d", "arch": "a", "scenario": "class_removal"},
            **{"base_method": method, "method": name, "status": status},
            **{"aus": score, "unlearning_seconds": 2.0, "split": "class-1", "train_seed": seed},
        }
        for name, values in scores.items()
        for seed, score in enumerate(values)
    ]


@pytest.fixture
def search():
    tried = {"duck": [{"lr": 0.001}, {"lr": 0.002}, {"lr": 0.029}]}
    tried["duck"] = [{"epochs": 5, "lambda_forget": 1.0} | one for one in tried["duck"]]
    return tuning_experiment(experiment(), {"class_removal": tried})


def ranked(scores, search, **others):
    return {r["candidate"]: r for r in tune.trace(scores, search, METHOD_FILES, **others)}


def test_the_highest_mean_less_its_spread_is_chosen_and_the_first_of_equals(search):
    scores = {"duck-1": [0.8, 0.9], "duck-2": [0.9, 0.9], "duck-3": [1.0, 0.84]}
    found = ranked(rows(scores), search)
    assert [(r["rank"], r["chosen"]) for r in found.values()] == [(3, ""), (1, "yes"), (2, "")]
    spread = 0.1 / 2**0.5
    assert found["duck-1"]["aus_mean"] == pytest.approx(0.85)
    assert found["duck-1"]["aus_sd"] == pytest.approx(spread)
    assert found["duck-1"]["objective"] == pytest.approx(0.85 - spread)
    assert found["duck-3"]["aus_mean"] > found["duck-2"]["aus_mean"]
    equal = ranked(rows({name: [0.9, 0.9] for name in scores}), search)
    assert [r["chosen"] for r in equal.values()] == ["yes", "", ""]


def test_the_winner_says_at_which_edge_it_lies(search):
    scores = {"duck-1": [0.8], "duck-2": [0.7], "duck-3": [0.9]}
    assert ranked(rows(scores), search)["duck-3"]["edge"] == "lr"
    scores["duck-1"] = [0.95]
    assert ranked(rows(scores), search)["duck-1"]["edge"] == ""


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_cell_that_is_lost_counts_as_zero(search, status):
    good = rows({"duck-1": [0.5, 0.5], "duck-2": [0.99]})
    found = ranked(good + rows({"duck-2": [None]}, status=status), search)
    assert found["duck-2"]["status"] == status
    assert found["duck-2"]["aus_mean"] == pytest.approx(0.495)
    assert found["duck-1"]["chosen"] == "yes" and found["duck-2"]["rank"] == 2


def test_a_candidate_that_was_not_run_has_no_rank(search):
    found = ranked(rows({"duck-1": [0.5]}) + rows({"duck-2": [None]}, status="missing"), search)
    assert found["duck-2"]["status"] == "missing" and "rank" not in found["duck-2"]
    text = tune.as_csv(found.values())
    assert "duck-2" in text and text.count("yes") == 1


def test_cells_that_the_run_reports_are_counted(search):
    shown = [("class_removal", "class-1", 0)]
    found = ranked(rows({"duck-1": [0.5, 0.6]}), search, shown=shown)
    assert found["duck-1"]["reported_cells"] == 1


def test_the_published_settings_stand_beside_the_chosen_ones_and_are_never_chosen(search):
    scores = {"duck-1": [0.8, 0.9], "duck-2": [0.7, 0.7], "duck-published": [0.99, 0.99]}
    found = tune.trace(rows(scores), search, METHOD_FILES)
    assert [r["candidate"] for r in found if r.get("chosen")] == ["duck-1"]
    (row,) = tune.beside_published(found)
    assert row["candidates"] == 2 and row["cells"] == 2
    assert row["published_mean"] == pytest.approx(0.99)
    assert row["searched_mean"] == pytest.approx(0.85)
    (section,) = tune.table(found).sections
    (shown,) = section.cells.to_dict("records")
    assert shown["Settings, published"] == "epochs 10, lambda_forget 1.0, lr 0.001"
    assert shown["AUS, searched"] == "0.850 ± 0.071" and shown["Difference"] == "-0.140"


def test_the_figure_shows_every_candidate_at_its_learning_rate(search, tmp_path):
    scores = {"duck-1": [0.8, 0.9], "duck-2": [0.7, 0.7], "duck-published": [0.95, 0.95]}
    (tmp_path / "tuning.csv").write_text(
        tune.as_csv(tune.trace(rows(scores), search, METHOD_FILES))
    )
    subprocess.run(
        [sys.executable, ROOT / "figures/tuning.py", "--runs", "tuning.csv", "--out", "drawn"],
        cwd=tmp_path,
        check=True,
    )
    table = pd.read_csv(tmp_path / "drawn.csv")
    assert list(table["kind"]) == ["chosen", "candidate", "published"]
    assert list(table["value"]) == [0.001, 0.002, 0.001]
    assert list(table["aus_mean"]) == pytest.approx([0.85, 0.7, 0.95])
    assert (tmp_path / "drawn.png").stat().st_size > 1000


def test_references_are_no_candidates(search):
    assert ranked(rows({"original": [0.9]}, method="original"), search) == {}


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


def write_trace(path, cells=6, candidates=16, best=15, reported=0):
    """A trace of DUCK on the embedded data; `best` is the number of its winner."""
    cell = cell_of("mini")
    points = hyperparameters.candidates("duck", cell, candidates, METHOD_FILES)
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, tune.COLUMNS, restval="")
        writer.writeheader()
        for number, point in enumerate(points):
            row = cell | {"method": "duck", "candidate": f"duck-{number + 1}", "round": 1}
            row |= {"settings": json.dumps(point), "cells": cells, "reported_cells": reported}
            row |= {"objective": float(number == best), "chosen": "yes" if number == best else ""}
            writer.writerow(row)
    return points[best]


def test_a_winner_at_an_edge_declares_a_second_round(tmp_path):
    trace, cell = tmp_path / "mini.csv", cell_of("mini")
    published = hyperparameters.around("duck", cell, METHOD_FILES)
    space = hyperparameters.searched_space("duck", cell, METHOD_FILES)[1][0]
    points = hyperparameters.candidates("duck", cell, 16, METHOD_FILES)
    at_edge = [bool(spaces.at_edge(space, published, point)) for point in points]
    assert True in at_edge and False in at_edge
    write_trace(trace, best=at_edge.index(False))
    assert second_rounds([trace], METHOD_FILES) == {}
    point = write_trace(trace, best=at_edge.index(True))
    blocks = second_rounds([trace], METHOD_FILES)["duck"]
    whole = (METHOD_FILES / "duck.yaml").read_text(encoding="utf-8")
    text = with_winners(whole, winners([trace])["duck"], blocks)
    assert with_winners(text, winners([trace])["duck"], blocks) == text
    (tmp_path / "duck.yaml").write_text(text)
    found = hyperparameters.candidates("duck", cell, 16, tmp_path)
    assert found[:16] == points and len(found) == 32
    assert min(c["lr"] for c in found[16:]) < point["lr"] < max(c["lr"] for c in found[16:])


def test_a_trace_that_is_too_small_is_not_adopted(tmp_path):
    trace = tmp_path / "mini.csv"
    write_trace(trace)
    assert list(too_small(trace)) == []
    for changes, says in (
        ({"cells": 2}, "2 cells a candidate"),
        ({"candidates": 8, "best": 0}, "8 candidates"),
        ({"reported": 1}, "that the run reports"),
    ):
        write_trace(trace, **changes)
        assert says in "; ".join(too_small(trace))


def test_the_settings_in_use_are_the_winners_of_the_committed_traces():
    assert "mini" in [trace.stem for trace in TRACES]
    found, second = winners(TRACES), second_rounds(TRACES)
    assert set(found) == set(SEARCHED)
    for method in hyperparameters.known_methods(METHOD_FILES):
        text = (METHOD_FILES / f"{method}.yaml").read_text(encoding="utf-8")
        assert with_winners(text, found.get(method, []), second.get(method)) == text, method
        assert (MARK in text) == (method in found)


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_trace_holds_every_candidate_and_one_winner_a_scenario(trace):
    with open(trace, newline="", encoding="utf-8") as handle:
        table = list(csv.DictReader(handle))
    groups = {}
    for row in table:
        groups.setdefault((row["method"], row["scenario"]), []).append(row)
    for (method, scenario), members in groups.items():
        by = "objective" if "objective" in members[0] else "aus_mean"
        if by == "objective":  # older traces are of a grid that is no longer declared
            cell = cell_of(trace.stem, scenario)
            budget = tuning_of(trace.stem)["budget"]
            declared = hyperparameters.candidates(method, cell, budget, METHOD_FILES)
            published = [row for row in members if row["candidate"] == f"{method}-published"]
            assert len(published) == 1 and not published[0]["chosen"]
            members = [row for row in members if row not in published]
            assert [json.loads(row["settings"]) for row in members] == declared
        best = max((r for r in members if r[by]), key=lambda r: float(r[by]))
        assert [r["candidate"] for r in members if r["chosen"]] == [best["candidate"]]
        assert hyperparameters.defined(method, scenario, METHOD_FILES)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"space": {"lr": 0.1}}, "lr: should be a list of values or one of"),
        ({"space": {"lr": {"log": [1.0, 0.1]}}}, "lr: log should be .low, high."),
        ({"space": {"lr": {"log": [0.0, 0.1]}}}, "a low end above 0"),
        ({"space": {"lr": {"decades": "3"}}}, "decades should be a number"),
        ({"space": {"lr": ["fast", "slow"]}}, "should be a float"),
        ({"space": {"rate": {"decades": 3}}}, "rate: unknown setting"),
        ({"space": {k: {"decades": 1} for k in ("a", "b", "c")}}, "at most 2 beside"),
        ({"settings": {"rate": 1}}, "unknown key 'rate'"),
        ({"when": {"network": "strided_cnn"}}, "unknown key 'network'"),
        ({"grid": {}}, "unknown key 'grid'"),
    ],
)
def test_a_mistaken_search_is_named(block, says, tmp_path):
    settings = {"lr": 0.1, "a": 1.0, "b": 1.0, "c": 1.0}
    whole = {"when": {"dataset": "d"}, "settings": {}, "space": {}} | block
    with pytest.raises(ConfigError, match=says):
        written(tmp_path, defaults={"source": "s", "settings": settings}, search=[whole])()


def on_test_half(**changes):
    tuning = {"train_seeds": [0], "scenarios": {"class_removal": {"forget": [1]}}}
    return experiment(tuning=tuning | {"judged_on": "test_half"}, **changes)


def test_a_search_on_half_of_the_test_images_takes_the_runs_originals():
    found = search_of(on_test_half(methods=["negative_gradient", "duck"]), METHOD_FILES)
    assert (found.evaluation, found.test_half, found.models_of) == (
        "test",
        "first",
        "d-strided_cnn",
    )
    names = {variant.method for variant in found.variants}
    assert names == {"original", "negative_gradient", "duck"}
    chosen = on_test_half(methods=["negative_gradient", "duck"])
    tuning = chosen.tuning.model_copy(update={"methods": ["negative_gradient"]})
    found = search_of(chosen.model_copy(update={"tuning": tuning}), METHOD_FILES)
    assert {variant.method for variant in found.variants} == {"original", "negative_gradient"}


def test_searched_settings_are_reported_on_the_other_half():
    with pytest.raises(ConfigError, match="test_half: second"):
        search_of(on_test_half(methods=["duck"], settings_from="searched"), METHOD_FILES)
    second = on_test_half(methods=["duck"], settings_from="searched", test_half="second")
    assert search_of(second, METHOD_FILES).test_half == "first"
    with pytest.raises(ConfigError, match="no original of seed 0"):
        search_of(on_test_half(methods=["duck"], train_seeds=[1]), METHOD_FILES)
