"""The real DAG on a tiny grid: what it makes, what an edit reruns, what a mistake leaves alone."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from workspace import PROJECT, Workspace

from unlearning.config import hyperparameters
from unlearning.files import load_arrays
from unlearning.results.keys import IDENTITY
from unlearning.results.manifest import COLUMNS
from unlearning.tables.evaluation import LAYOUTS

METHODS = ["fine_tuning", "negative_gradient", "random_labels", "duck", "duck_one_step"]
CLASS_REMOVAL_ALONE = ["original_erm", "erm_ktp"]
SPLITS, FIGURES = 2, 5
MEASURED = {"score": SPLITS, "attack": SPLITS, "probe": SPLITS}
SHOWN = {"audit": 1, "paper": 1, "report": 1}
FIRST = {"first_table": 1}
REPORT = {"collect": 1, "tabulate": 1, "plot": FIGURES} | SHOWN
TINY = "configs/tiny.yaml"
EXPERIMENT = "results/tiny/fashion_mnist_mini-strided_cnn"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace in which the whole tiny grid ran once; tests that edit restore it."""
    space = Workspace.create(tmp_path_factory.mktemp("dag"))
    status, text = space.snakemake()
    assert status == 0, text
    return space


@pytest.fixture
def edited(finished):
    """The finished workspace, its sources put back after the test."""
    with finished.restored() as space:
        yield space


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished workspace, in which a test may make again what it likes."""
    return Workspace(shutil.copytree(finished.root, tmp_path / "copy"))


def rows(space):
    with open(space.root / "results/tiny/runs.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def record(space, folder):
    return json.loads((space.root / EXPERIMENT / folder / "record.json").read_text())


def test_each_job_says_last_how_long_it_worked(finished):
    folder = finished.root / "results/tiny/logs"
    logs = [*folder.rglob("*.log"), *(finished.root / "data/logs").iterdir()]
    logs.remove(folder / "rulegraph.log")  # Snakemake's own
    stages = {log.relative_to(folder).parts[0].split(".")[0] for log in logs[:-1]}
    assert stages >= {"split", "oracle", "shadow", "unlearn", "score", "attack", "probe", "figures"}
    for log in logs:
        *_, last = log.read_text().splitlines()
        assert re.fullmatch(r"worked \d+\.\d+ s, \d+\.\d+ s of CPU, \d+ MB", last), log


def test_the_first_table_is_the_one_of_the_whole_run(finished):
    """It is drawn before attacks and probes are there, which it does not show."""
    first = (finished.root / "results/tiny/first/class_removal.txt").read_text(encoding="utf-8")
    runs = "results/tiny/runs.csv"
    status, text = finished.command(
        sys.executable, "-m", "unlearning", "show", "--runs", runs, "--width", "100"
    )
    assert status == 0 and text.startswith(first), text
    *lines, note = first.splitlines()[4:]
    assert note.startswith("erm_ktp: the only cell diverged")
    methods = [line.split()[0] for line in lines]
    assert methods == ["original", "oracle", *METHODS[:4], "original_erm", "erm_ktp", METHODS[4]]
    assert "homogeneous" not in first.lower() and "Homogeneous removal" in text


def test_the_first_table_does_not_wait_for_attacks_and_probes(finished):
    logs = [path.read_text("utf-8") for path in (finished.root / ".snakemake/log").glob("*.log")]
    log = next(text for text in logs if "(Rule: first_table)" in text and "(Rule: paper)" in text)
    first, *later = (log.index(f"(Rule: {rule})") for rule in ("first_table", "attack", "probe"))
    assert first < min(later)


def test_every_cell_is_one_row_that_ran(finished):
    found = rows(finished)
    assert len(found) == SPLITS * (2 + len(METHODS) + len(CLASS_REMOVAL_ALONE))
    status = {(row["scenario"], row["method"]): row["status"] for row in found}
    others = {key: value for key, value in status.items() if key[1] not in CLASS_REMOVAL_ALONE}
    assert set(others.values()) == {"ok"}
    assert {key[1] for key in others} == {"original", "oracle", *METHODS}
    ran = {row["code_sha256"] for row in found if row["code_sha256"]}
    assert len(ran) == 2 + len(METHODS) + 2 - 1  # duck and duck_one_step share a module


def test_a_method_with_an_original_of_its_own_starts_from_it(finished):
    """Two epochs teach no mask, so that ERM-KTP has nothing to transfer and says so."""
    found = {(row["scenario"], row["method"]): row for row in rows(finished)}
    own, result = (found["class_removal", name] for name in CLASS_REMOVAL_ALONE)
    assert own["status"] == "ok" and own["aus"] != found["class_removal", "original"]["aus"]
    assert result["status"] == "diverged" and "every channel" in result["reason"]
    assert result["compared_with"] == "original_erm" and result["aus"] == ""
    assert record(finished, "originals_erm/train-0")["settings"]["arch"] == "strided_cnn_erm"
    assert "diverged" in (finished.root / "results/tiny/tables/class_removal.md").read_text()


def test_a_method_is_not_run_where_its_paper_does_not_define_it(finished):
    for row in rows(finished):
        if row["scenario"] == "homogeneous_removal" and row["method"] in CLASS_REMOVAL_ALONE:
            assert row["status"] == "not_defined" and "homogeneous removal" in row["reason"]
    folder = finished.root / EXPERIMENT / "runs/homogeneous_removal"
    assert not list(folder.rglob("erm_ktp"))
    table = (finished.root / "results/tiny/tables/homogeneous_removal.md").read_text()
    assert "not defined" in table


def test_tables_and_figures_are_there_and_not_empty(finished):
    names = [
        f"tables/{s}.{form}"
        for s in ("class_removal", "homogeneous_removal", *LAYOUTS)
        for form in ("csv", "json", "md", "tex", "html")
    ]
    names += [
        f"figures/{f}.{form}"
        for f in ("aus_vs_time", "accuracies", "sensitivity", "roc", "ranks")
        for form in ("svg", "pdf", "png", "csv")
    ]
    sizes = {name: (finished.root / "results/tiny" / name).stat().st_size for name in names}
    # One training seed makes no ensemble, one cell no ranks.
    empty = {"tables/ensembles.md", "tables/ensembles.tex", "figures/ranks.csv"}
    assert {name for name, size in sizes.items() if size < 200} == empty, sizes


def test_a_script_without_this_projects_code_computes_the_same_numbers(finished, tmp_path):
    """Accuracies, AUS and LiRA's AUC of every cell; one digit that is changed is named."""

    def checked(run):
        script = PROJECT / "workflow/scripts/check_numbers.py"
        found = subprocess.run([sys.executable, script, run], capture_output=True, text=True)
        assert found.stderr == ""
        return found.returncode, found.stdout

    run = finished.root / "results/tiny"
    cells = sum(row["status"] == "ok" for row in rows(finished))
    status, text = checked(run)
    assert status == 0, text
    for name in ("forget_train_accuracy", "test_accuracy", "aus", "lira_auc"):
        assert f"{cells:5} equal: {name}\n" in text
    for name in ("runs.csv", "config.json", "tables", EXPERIMENT.split("/")[-1]):
        (tmp_path / name).symlink_to(run / name)
    (tmp_path / "runs.csv").unlink()
    frame = pd.read_csv(run / "runs.csv")
    frame.loc[(frame["method"] == "duck").idxmax(), "aus"] += 1e-6
    frame.to_csv(tmp_path / "runs.csv", index=False)
    status, text = checked(tmp_path)
    assert status == 1 and f"{cells - 1:5} equal: aus\n" in text
    assert re.search(r"duck/unlearn-0: aus is written \S+, not \S+$", text.strip())


def test_the_manifest_says_what_made_every_cell(finished):
    with open(finished.root / "results/tiny/manifest.csv", newline="") as handle:
        made = list(csv.DictReader(handle))
    assert list(made[0]) == COLUMNS
    for row, cell in zip(made, rows(finished), strict=True):
        assert {key: row[key] for key in IDENTITY} == {key: cell[key] for key in IDENTITY}
        assert bool(row["record"]) == (row["status"] in ("ok", "diverged"))
        if row["record"]:
            file = finished.root / "results/tiny" / row["record"]
            found = json.loads(file.read_text())
            assert row["record_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
            assert row["command"] == found["command"] and row["settings_sha256"] == sha(found)
            assert row["data_sha256"] == found["inputs"]["data"]


def sha(record):
    """The hash of a record's settings, from the settings themselves."""
    text = json.dumps(record["settings"], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_oracle_was_trained_without_the_forgotten_images(finished):
    split = json.loads(
        (finished.root / EXPERIMENT / "splits/class_removal/class-0.json").read_text()
    )
    oracle = record(finished, "oracles/class_removal/class-0/train-0")
    assert oracle["training_images"] == 3000 - len(split["forget"]) == 2700
    assert "split" in oracle["inputs"]
    assert record(finished, "originals/train-0")["training_images"] == 3000
    by_method = {r["method"]: r for r in rows(finished) if r["scenario"] == "class_removal"}
    assert float(by_method["oracle"]["forget_train_accuracy"]) == 0.0
    assert float(by_method["original"]["forget_train_accuracy"]) > 0.2


def test_a_second_run_has_nothing_to_do(finished):
    status, text = finished.snakemake()
    assert status == 0
    assert "Nothing to be done" in text


def test_the_logged_command_gives_the_same_weights_by_hand(finished, tmp_path):
    folder = "runs/class_removal/class-0/train-0/duck/unlearn-0"
    made = finished.root / EXPERIMENT / folder
    words = shlex.split(record(finished, folder)["command"])
    for name in ("model.safetensors", "outputs.safetensors", "record.json"):
        words[words.index(str((made / name).relative_to(finished.root)))] = str(tmp_path / name)
    status, text = finished.command(*words)
    assert status == 0, text
    for name in ("model.safetensors", "outputs.safetensors"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_a_learning_rate_reruns_its_method_the_tables_and_the_figures(edited):
    edited.edit("configs/methods/random_labels.yaml", "weight_decay: 0.0", "weight_decay: 0.1")
    assert edited.planned() == {"unlearn": SPLITS} | MEASURED | FIRST | REPORT


def test_a_variants_own_setting_reruns_the_variant_alone(edited):
    edited.edit("configs/tiny.yaml", "batch_ratio: 1}", "batch_ratio: 2}")
    plan = edited.planned()
    assert (plan.pop("resolve_config"), plan.pop("rulegraph")) == (1, 1)
    assert plan == {"unlearn": SPLITS} | MEASURED | FIRST | REPORT


def test_editing_a_methods_code_reruns_its_cells(edited):
    edited.edit("src/unlearning/methods/fine_tuning.py", "(images), labels)", "(images), 1)")
    plan = edited.planned()
    assert (plan["unlearn"], plan["score"]) == (SPLITS, SPLITS)
    assert "train_original" not in plan and "train_oracle" not in plan


def test_editing_the_training_loop_retrains(edited):
    edited.edit("src/unlearning/training/loop.py", '"cpu": 100', '"cpu": 50')
    models = {"train_original": 2, "train_oracle": SPLITS, "train_shadow": 4}
    assert models.items() <= edited.planned().items()


@pytest.mark.parametrize(
    ("module", "old", "new", "stage"),
    [
        ("accuracy", "float(picked.mean())", "float(picked.max())", "score"),
        ("oracle_distance", "SMOOTHING = ", "OTHER = 1\nSMOOTHING = ", "score"),
        ("membership", "VARIANCES = ", "OTHER = 1\nVARIANCES = ", "attack"),
        ("representation", "import numpy as np", "import numpy as np\nOTHER = 1", "probe"),
    ],
)
def test_editing_a_metric_measures_again_and_trains_nothing(edited, module, old, new, stage):
    edited.edit(f"src/unlearning/metrics/{module}.py", old, new)
    assert edited.planned() == {stage: SPLITS} | REPORT | (FIRST if stage == "score" else {})


def test_attacks_and_distances_are_columns_of_every_cell_that_is_ok(finished):
    numbers = ("lira_auc", "lira_offline_auc", "released_attack_auc", "svc_f1")
    numbers += ("js_forget", "agreement_test", "cka_test", "relearn_steps")
    for row in rows(finished):
        filled = [row[name] != "" for name in numbers]
        assert set(filled) == {row["status"] == "ok"}, row
        if row["method"] == "oracle":
            assert (float(row["js_forget"]), float(row["agreement_retain"])) == (0.0, 1.0)
            assert float(row["cka_test"]) == pytest.approx(1, abs=1e-6)
        if row["status"] == "ok":
            assert row["shadow_models"] == "4"
            assert (row["probe_accuracy"] != "") == (row["scenario"] == "class_removal")


def test_shadow_models_see_complementary_halves_of_all_images(finished):
    folders = [finished.root / EXPERIMENT / "shadows" / str(k) for k in range(4)]
    seen = [load_arrays(folder / "outputs.safetensors")["trained_on"] for folder in folders]
    assert all(len(mask) == 4000 and mask.sum() == 2000 for mask in seen)
    assert (seen[0] ^ seen[1]).all() and (seen[2] ^ seen[3]).all()
    assert 900 < (seen[0] & seen[2]).sum() < 1100


def test_a_config_without_attacks_shows_none_even_beside_old_ones(copied):
    copied.edit(TINY, "    attacks: {shadows: 4}\n", "")
    table = "results/tiny/tables/membership.md"
    status, text = copied.snakemake(table)
    assert status == 0, text
    assert {row["lira_auc"] for row in rows(copied)} == {""}
    assert len((copied.root / "results/tiny/roc.csv").read_text().splitlines()) == 1
    assert "No attack" in (copied.root / table).read_text()


def test_editing_a_figure_draws_it_again_and_nothing_else(edited):
    path = edited.root / "figures/accuracies.py"
    path.write_text(path.read_text() + "\nUNUSED = 1\n")
    assert edited.planned() == {"plot": 1, "paper": 1, "report": 1}


def test_a_comment_a_docstring_or_a_touch_reruns_nothing(edited):
    path = edited.root / "src/unlearning/training/loop.py"
    path.write_text("# a comment\n" + path.read_text())
    edited.edit("src/unlearning/methods/duck.py", '"""DUCK (', '"""The DUCK (')
    for file in [*edited.root.rglob("src/**/*.py"), *edited.root.rglob("configs/**/*.yaml")]:
        file.touch()
    assert edited.planned() == {}


def test_another_locale_reruns_nothing(finished, another_locale, monkeypatch):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    for name, value in another_locale.items():
        monkeypatch.setenv(name, value)
    status, text = finished.process("snakemake", "-n", "--cores", "2", "--configfile", TINY)
    assert status == 0 and "Nothing to be done" in text, text


def test_a_cell_that_is_gone_is_made_again_or_shown_as_missing(copied):
    cell = copied.root / EXPERIMENT / "runs/class_removal/class-0/train-0/duck/unlearn-0"
    table = "results/tiny/tables/class_removal.md"
    assert copied.planned() == {}
    cell.rename(cell.with_name("aside"))
    (copied.root / "results/tiny/runs.csv").unlink()
    assert copied.planned()["unlearn"] == 1
    config = yaml.safe_load((copied.root / TINY).read_text())
    (experiment,) = config["experiments"]  # from here on with less to measure
    experiment["methods"] = [{"name": "duck", "method": "duck", "settings": {"epochs": 2}}]
    del experiment["attacks"], experiment["scenarios"]["homogeneous_removal"]
    (copied.root / TINY).write_text(yaml.safe_dump(config | {"partial": True}))
    status, text = copied.snakemake(table)
    assert status == 0, text
    gone = [row for row in rows(copied) if row["status"] == "missing"]
    assert [(row["method"], row["reason"]) for row in gone] == [("duck", "not run")]
    assert copied.planned(table) == {}
    assert "missing" in (copied.root / table).read_text()
    cell.with_name("aside").rename(cell)
    (copied.root / TINY).write_text(yaml.safe_dump(config))
    status, text = copied.snakemake(table)
    assert status == 0, text
    assert "missing" not in {row["status"] for row in rows(copied)}
    assert "missing" not in (copied.root / table).read_text()


def test_tune_ranks_the_candidates_on_held_out_images(edited):
    config = edited.root / "configs/search.yaml"
    tuning = (
        "    tuning: {budget: 6, train_seeds: [0], scenarios: {class_removal: {forget: [0]}}}\n"
    )
    lines = (edited.root / TINY).read_text().partition("    methods:")[0]
    lines = lines.replace("run: tiny", "run: search")  # the files of the other run stay as they are
    config.write_text(lines + "    methods: [random_labels]\n" + tuning)
    status, text = edited.snakemake("tune", config="configs/search.yaml")
    assert status == 0, text
    with open(edited.root / "results/search/tuning.csv", newline="") as handle:
        trace = list(csv.DictReader(handle))
    names = [*range(1, 7), "published"]
    assert [row["candidate"] for row in trace] == [f"random_labels-{name}" for name in names]
    table = (edited.root / "results/search/tables/tuning.md").read_text()
    assert "| random_labels |" in table
    assert (edited.root / "results/search/figures/tuning.png").exists()
    done = [row for row in trace if row["rank"]]
    best = max(done, key=lambda row: float(row["objective"]))
    assert [row["candidate"] for row in trace if row["chosen"]] == [best["candidate"]]
    folder = EXPERIMENT.replace("results/tiny", "results/search")
    model = json.loads((edited.root / f"{folder}-tuning/originals/train-0/record.json").read_text())
    assert model["training_images"] == 2400


MISTAKES = {
    "unknown key": (
        TINY,
        "run: tiny",
        "run: tiny\nseedz: 1",
        ["tiny.yaml", "seedz"],
    ),
    "wrong type": (
        TINY,
        "lr: 0.1",
        "lr: fast",
        ["tiny.yaml", "training.lr", "number"],
    ),
    "class range": (TINY, "[0]}", "[10]}", ["tiny.yaml", "class 10", "0..9"]),
    "fraction": (
        TINY,
        "fraction: 0.1",
        "fraction: 1.5",
        ["fraction", "less than 1"],
    ),
    "shadows": (TINY, "{shadows: 4}", "{shadows: 5}", ["attacks.shadows", "multiple of 2"]),
    "method": (
        TINY,
        "method: duck, settings: {epochs: 2}",
        "method: dukc, settings: {epochs: 2}",
        ["'dukc'", "did you mean 'duck'"],
    ),
    "same file": (
        TINY,
        "name: duck_one_step",
        "name: duck",
        ["methods", "duck", "twice"],
    ),
    "method key": (
        "configs/methods/duck.yaml",
        "{lambda_forget: 1.5",
        "{lambda_forge: 1.5",
        ["duck.yaml", "overrides.0.settings", "did you mean 'lambda_forget'"],
    ),
    "method value": (
        TINY,
        "{epochs: 1, batch_ratio: 1}",
        "{epochs: 0, batch_ratio: 1}",
        ["tiny.yaml", "duck_one_step: settings.epochs", "greater than 0"],
    ),
    "no original of its own": (
        TINY,
        "      - original_erm\n",
        "",
        ["erm_ktp", "starts from original_erm"],
    ),
    "catalogue": ("configs/datasets.csv", "fashion_mnist_mini,1", ",1", ["datasets.csv", "name"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_and_key_and_loses_nothing(edited, mistake):
    file, old, new, expected = MISTAKES[mistake]
    before = edited.contents()
    edited.edit(file, old, new)
    status, text = edited.snakemake()
    assert status != 0
    assert "Traceback" not in text
    for words in expected:
        assert words in text, text
    assert edited.contents() == before


def test_a_data_set_with_another_checksum_is_refused_and_loses_nothing(edited):
    before = edited.contents() | edited.contents("data")
    edited.edit("configs/datasets.csv", "sha256:49ba090b", "sha256:49ba090c")
    status, _ = edited.snakemake()
    log = (edited.root / "data/logs/fashion_mnist_mini.log").read_text()
    assert status != 0
    assert "train-images-idx3-ubyte.gz" in log and "49ba090c" in log and "49ba090b" in log
    assert edited.contents() | edited.contents("data") == before


def test_the_extended_grid_has_every_method_on_every_forget_set(tmp_path):
    space = Workspace.create(tmp_path)
    plan = space.planned("results/paper/runs.csv", config="configs/paper_extended.yaml")
    splits = 3 * (10 + 10)
    assert (plan["fetch_dataset"], plan["make_split"]) == (3, splits)
    assert (plan["train_original"], plan["train_oracle"]) == (2 * 3, splits)
    methods = yaml.safe_load((PROJECT / "configs/paper_extended.yaml").read_text())
    methods = methods["experiments"][0]["methods"]
    files = PROJECT / "configs/methods"
    defined = [
        hyperparameters.defined(method, scenario, files)
        for method in ["original", "oracle", *methods]
        for scenario in ("class_removal", "homogeneous_removal")
    ]
    assert plan["unlearn"] == splits // 2 * sum(defined)
    assert [plan[stage] for stage in MEASURED] == [splits] * 3
    assert plan["train_shadow"] == 80 + 16 + 16 and "ensemble" not in plan


def test_rule_files_hold_no_logic():
    """Functions of the rules are in three files; what is worth a unit test is in the library."""
    folder = PROJECT / "workflow/rules"
    shared = {folder / f"{name}.smk" for name in ("place", "common", "start")}
    for file in {PROJECT / "Snakefile", *folder.glob("*.smk")} - shared:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"^ *(def|class|while|try|with) ", text, re.M), file
    for file in shared:
        functions = file.read_text(encoding="utf-8").split("\ndef ")[1:]
        bodies = [re.split(r"\n(?=\S)", text, maxsplit=1)[0] for text in functions]
        longest = max(bodies, key=lambda body: body.count("\n"))
        assert 10 <= longest.count("\n") <= 35, longest
