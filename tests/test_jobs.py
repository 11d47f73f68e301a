"""The jobs of a run as the library knows them: files, needs, settings, order."""

from __future__ import annotations

import pytest
from conftest import METHOD_FILES

from unlearning.data.catalogue import catalogue
from unlearning.jobs.job import LOGS, OUTPUTS, WILDCARDS, Job, files_of, walk
from unlearning.jobs.run import Jobs
from unlearning.plan.checks import plan

DATASETS = catalogue()
GRID = {
    "dataset": "cifar10",
    "arch": "resnet18_small",
    "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
    "train_seeds": [0, 1],
    "scenarios": {"class_removal": {"forget": [3]}},
    "methods": [
        "duck",
        "original_erm",
        "erm_ktp",
        {"name": "scar", "method": "scar", "settings": {"surrogate": "packed:cifar100"}},
    ],
    "attacks": {"shadows": 4},
}
GROUP = {"experiment": "main", "scenario": "class_removal", "split": "class-3", "train_seed": 1}
PLACE = "results/run/main/{}/class_removal/class-3/train-1"


def jobs(finished=lambda folder: False, raw=(), **changes):
    raw = {"run": "run", "experiments": [GRID | {"name": "main"} | changes], **dict(raw)}
    config, searches = plan(raw, "run.yaml", DATASETS, METHOD_FILES)
    return Jobs(config, DATASETS, searches, methods=METHOD_FILES, finished=finished)


def cell(found, method):
    return found.job("unlearn", method=method, unlearn_seed=0, **GROUP)


def test_a_cell_reads_its_data_forget_set_original_and_that_ones_logits():
    job = cell(jobs(), "duck")
    start = "results/run/main/originals/train-1"
    assert job.inputs == {
        "data": "data/cifar10.safetensors",
        "split": "results/run/main/splits/class_removal/class-3.json",
        "start": f"{start}/model.safetensors",
        "start_record": f"{start}/record.json",
        "evaluated": f"{start}/evaluated/outputs.safetensors",
        "evaluated_record": f"{start}/evaluated/record.json",
    }
    folder = f"{PLACE.format('runs')}/duck/unlearn-0"
    names = ("model.safetensors", "outputs.safetensors", "record.json")
    assert list(job.outputs.values()) == [f"{folder}/{name}" for name in names]
    assert f"results/run/{job.folder}" == folder
    assert job.settings["base_method"] == "duck" and job.settings["train_seed"] == 1
    assert job.options == f"--evaluated {start}/evaluated/outputs.safetensors"


def test_the_oracle_starts_from_a_model_of_its_own_and_a_masked_method_from_a_masked_original():
    found = jobs()
    oracle, masked = cell(found, "oracle"), cell(found, "erm_ktp")
    assert oracle.inputs["start"] == f"{PLACE.format('oracles')}/model.safetensors"
    assert "evaluated" not in oracle.inputs
    (trained,) = (need for need in oracle.needs if need.rule == "train_oracle")
    assert trained.options == "--split results/run/main/splits/class_removal/class-3.json"
    assert "/originals_erm/train-1/" in masked.inputs["start"]
    (start,) = (need for need in masked.needs if need.rule == "train_original")
    assert start.settings["arch"] == "resnet18_small_erm"


def test_surrogate_images_and_pretrained_weights_are_fetched():
    assert cell(jobs(), "scar").inputs["surrogate"] == "data/cifar100.safetensors"
    found = jobs(arch="resnet18", pretrained=True, methods=["duck"])
    (start,) = (need for need in cell(found, "duck").needs if need.rule == "train_original")
    assert start.inputs["pretrained"] == "data/weights/resnet18.safetensors"
    assert start.options == "--pretrained data/weights/resnet18.safetensors"
    fetched = [job.outputs["data"] for job in found.fetched()]
    assert fetched == ["data/cifar10.safetensors", "data/weights/resnet18.safetensors"]


def test_walking_back_meets_each_job_once_and_what_it_needs_before():
    found = jobs()
    names = [job.name for job in walk(found.collected())]
    assert len(names) == len(set(names))
    for job in walk(found.collected()):
        assert all(names.index(need.name) < names.index(job.name) for need in job.needs)
    rules = [job.rule for job in walk(found.collected())]
    assert rules.count("unlearn") == 2 * 6 and rules.count("train_shadow") == 4
    assert rules.count("train_original") == rules.count("evaluate") == 4
    assert rules.count("train_oracle") == rules.count("score") == rules.count("probe") == 2
    assert rules.count("fetch_dataset") == 2 and rules.count("make_split") == 1


def test_every_job_reads_what_its_needs_write_and_no_two_write_one_file():
    found = jobs()
    written: dict[str, Job] = {}
    for job in walk(found.collected()):
        for file in job.outputs.values():
            assert written.setdefault(file, job) is job
        read = [
            f for files in job.inputs.values() for f in ([files] if type(files) is str else files)
        ]
        assert {written[file] for file in read} == set(job.needs)


def test_the_files_and_the_log_of_a_rule_have_the_same_wildcards():
    probe = {name: f"<{name}>" for names in WILDCARDS.values() for name in names}
    for rule, files in OUTPUTS.items():
        for file in files.values():
            shown = {name for name in probe if f"<{name}>" in file.format(**probe)}
            assert shown == set(WILDCARDS[rule]), rule
    assert set(OUTPUTS) == set(LOGS)


def test_a_partial_run_has_the_cells_that_are_there():
    there = {"main/runs/class_removal/class-3/train-1/duck/unlearn-0"}
    found = jobs(there.__contains__, raw={"partial": True})
    assert [job.folder for job in found.collected() if job.rule == "unlearn"] == [*there]
    assert [job.rule for job in found.collected()] == ["unlearn", "score", "attack"]
    assert "--oracle" not in found.job("score", part="", **GROUP).options
    assert found.first() == []
    assert len(found.made()) == 2 * 6 + 4  # what the run would have, whatever is there


def test_results_are_records_of_cells_and_files_of_measurements():
    found = files_of(jobs().collected())
    assert f"{PLACE.format('runs')}/duck/unlearn-0/record.json" in found
    assert f"{PLACE.format('attacks')}.json" in found and f"{PLACE.format('probes')}.json" in found


TRUNKS = "originals", "originals_erm"


def test_the_first_part_of_the_order_comes_first_and_within_it_class_removal():
    parts = [
        {
            "name": "late",
            "methods": ["duck", "original_erm", "erm_ktp"],
            "scenarios": {"class_removal": {"forget": [1]}},
        },
        {"name": "soon", "methods": ["duck"], "scenarios": {"class_removal": {"forget": [2]}}},
    ]
    dropped = {"scenarios": None, "methods": None, "parts": parts, "attacks": None}
    changes = {key: value for key, value in (GRID | dropped).items() if value is not None}
    raw = {"run": "run", "order": ["soon", "late"], "experiments": [changes | {"name": "main"}]}
    config, _ = plan(raw, "run.yaml", DATASETS, METHOD_FILES)
    found = Jobs(config, DATASETS, methods=METHOD_FILES)

    def priority(split, base=10, **more):
        return found.priority(base, GROUP | {"split": split, "method": "duck"} | more)

    assert priority("class-2") > priority("class-1")
    trunk = {"experiment": "main", "train_seed": "1"}  # ERM-KTP's original is of the late part
    plain, masked = (found.priority(50, trunk | {"trunk": t}) for t in TRUNKS)
    assert plain > masked
    assert found.priority(10, {"experiment": "main", "shadow": "0"}) == priority("class-2") - 50
    assert [part for part, _ in found.by_part()][:2] == ["soon", "soon"]


@pytest.mark.parametrize("rules", [{"plot"}, {"explain"}, {"unlearn"}])
def test_the_server_of_jobs_loads_what_its_rules_need(rules):
    loaded = jobs().modules(rules)
    assert ("matplotlib.pyplot" in loaded) == (rules == {"plot"})
    assert ("shap" in loaded) == (rules == {"explain"})
    assert {"unlearning.methods.erm_ktp", "unlearning.stages.score"} <= set(loaded)
