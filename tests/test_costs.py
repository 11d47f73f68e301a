"""What a run will cost: the jobs that Snakemake plans, and hours that the real run took."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode
from workspace import PROJECT, Workspace

sys.path.insert(0, str(PROJECT / "workflow/scripts"))
import write_costs

from unlearning.config.agreement import SAME_MODELS
from unlearning.data.batches import load_dataset
from unlearning.data.catalogue import catalogue
from unlearning.jobs import costs, pace
from unlearning.models import build
from unlearning.plan.checks import plan
from unlearning.recipe import Recipe
from unlearning.results import shown
from unlearning.stages.estimate import Estimate, stated_gpu
from unlearning.training.loop import train

RUN = PROJECT / "results/mini"
FACTOR = 1.5
TRAININGS = ("train_original", "train_oracle", "train_shadow")
FIGURES = [*shown.FIGURES, *shown.STUDY_FIGURES]
TABLE = PROJECT / costs.FILE
SMALL = ("strided_cnn", "strided_cnn_erm")


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(PROJECT)


def estimate(name, table=None, factor=1.0, gpu="a100"):
    raw = yaml.safe_load((PROJECT / f"configs/{name}.yaml").read_text(encoding="utf-8"))
    found, _ = plan(raw, name, catalogue())
    return Estimate(found, costs.read(TABLE) if table is None else table, FIGURES, gpu, factor)


def slower(table, kind, factor):
    """A table of costs in which the rows that begin with `kind` are so many times as large."""
    return {
        name: dataclasses.replace(cost, seconds=cost.seconds * factor)
        if name.startswith(kind)
        else cost
        for name, cost in table.items()
    }


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return Workspace.create(tmp_path_factory.mktemp("costs"))


@pytest.mark.parametrize("name", ["mini", "paper", "fashion", "cifar"])
def test_the_jobs_are_those_that_snakemake_plans(space, name):
    counted = costs.counts(estimate(name).jobs)
    assert counted == space.planned(config=f"configs/{name}.yaml")


def test_the_longest_chain_is_the_one_by_hand():
    made = [
        costs.Job("a", "a", "k", 1),
        costs.Job("b", "b", "k", 1, ("a",)),
        costs.Job("c", "c", "k", 1, ("a",)),
        costs.Job("d", "d", "k", 1, ("b", "c")),
    ]
    assert costs.longest(made, {"a": 1, "b": 5, "c": 3, "d": 2}) == (8, ["a", "b", "d"])
    assert costs.longest(made, {"a": 1, "b": 2, "c": 3, "d": 2}) == (6, ["a", "c", "d"])


def test_work_follows_epochs_images_and_architecture():
    first = estimate("mini")
    oracle = "oracle/fashion_mnist_mini-strided_cnn/class_removal/class-0/train-0"
    job = next(j for j in first.jobs if j.name == oracle)
    assert job.work == pytest.approx(2700 * 14)  # without one class of ten
    twice = estimate("mini", slower(first.table, "train strided_cnn 1x28x28", 2))
    duck = "unlearn/fashion_mnist_mini-strided_cnn/class_removal/class-0/train-0/duck-0"
    assert twice.seconds[duck] == pytest.approx(2 * first.seconds[duck])
    assert twice.seconds["audit"] == first.seconds["audit"]


@pytest.fixture(scope="module")
def papers():
    return estimate("paper")


def test_the_papers_grid_is_counted_in_gpu_hours_of_a_stated_gpu(papers):
    found = papers
    text = found.text(4)
    assert "stated" in text and "not measured here" in text and "GPU hours" in text
    rate = stated_gpu("a100")["float32"]
    name = "originals/cifar10-resnet18/train-42"
    job = next(j for j in found.jobs if j.name == name)
    flops, _ = pace.size("resnet18", catalogue()["cifar10"])
    assert job.gpu == 1
    assert found.seconds[name] == pytest.approx(50_000 * 100 * 3 * flops / rate)
    faster = estimate("paper", gpu="h100")
    assert faster.seconds[name] < found.seconds[name] / 3
    with pytest.raises(ValueError, match="unknown GPU 'b9000'; known: t4"):
        stated_gpu("b9000")
    by_gpu = {name: hours for name, *hours in found.by_gpu()}
    total = sum(found.seconds[j.name] for j in found.jobs if j.gpu) / 3600
    assert by_gpu["a100"][0] == f"{total:.0f}"
    total = sum(faster.seconds[j.name] for j in faster.jobs if j.gpu) / 3600
    assert by_gpu["h100"][0] == f"{total:.0f}"
    assert by_gpu["t4"][0] == by_gpu["t4"][1]  # no fast bfloat16
    assert float(by_gpu["a100"][1]) < 0.5 * float(by_gpu["a100"][0])


def test_a_run_on_the_cpu_or_in_two_precisions_has_no_hours_of_gpus(papers, monkeypatch):
    assert not estimate("mini").by_gpu()
    monkeypatch.setattr(papers, "on_gpu", ["float32", "bfloat16"])
    assert not papers.by_gpu()


def test_the_papers_grid_is_part_of_the_extended_one_and_a_tenth_of_its_hours(papers):
    """What the first run has made is not made again by the second, in the same folder."""
    extended = estimate("paper_extended")
    assert extended.config.run == papers.config.run
    work = {job.name: job.work for job in extended.jobs}
    own = [j for j in papers.jobs if j.rule in ("unlearn", *TRAININGS)]
    assert {j.name: j.work for j in own} == {j.name: work[j.name] for j in own}
    hours = [sum(e.seconds[j.name] for j in e.jobs if j.gpu) for e in (papers, extended)]
    assert hours[0] < 0.11 * hours[1]
    by_label = {e.label: e for e in extended.config.experiments}
    for one in papers.config.experiments:
        other = by_label[one.label]
        for key in (*SAME_MODELS, "epochs_at_most", "retain_evaluated", "attacks", "unlearn_seeds"):
            if key != "attacks" or one.attacks:
                assert getattr(one, key) == getattr(other, key)
        variants = {v.name: v for v in other.variants}
        assert all(variants[v.name] == v for v in one.variants)


def test_an_architecture_that_was_not_measured_is_scaled_and_says_so():
    raw = yaml.safe_load((PROJECT / "configs/cifar10_fast.yaml").read_text(encoding="utf-8"))
    raw["experiments"][0] |= {"arch": "allcnn", "resources": {"gpu": 0}}
    config, _ = plan(raw, "cifar10_fast", catalogue())
    found = Estimate(config, costs.read(TABLE), [], factor=1.0)
    assert "not measured: train allcnn 3x32x32 bfloat16: from train resnet18" in found.text(1)


def test_the_operations_of_vit_are_those_of_its_products_of_matrices():
    """ViT-B/16: 196 patches and a token of 768 numbers, 12 layers, a head of ten classes."""
    patches, width = 196, 768
    tokens = patches + 1
    layer = (3 + 1 + 8) * tokens * width**2 + 2 * tokens**2 * width  # projections, attention
    products = patches * width * 16 * 16 * 3 + 12 * layer + 10 * width
    assert pace.size("vit_b16", catalogue()["cifar10"])[0] == 2 * products


@pytest.mark.parametrize("arch", ["strided_cnn", "allcnn_small", "resnet18_small"])
def test_the_operations_of_a_model_are_those_of_its_forward_pass(arch):
    """As counted on two images in training."""
    info = catalogue()["cifar10"]
    model = build(arch, info.classes, info.channels).train()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, info.channels, info.size, info.size).expand(2, -1, -1, -1))
    flops, held = pace.size(arch, info)
    assert 2 * flops == counter.get_total_flops()
    assert held == sum(t.numel() * t.element_size() for t in model.state_dict().values())


def test_an_architecture_is_scaled_from_itself_on_other_images_if_that_was_measured():
    found = estimate("mini")
    kinds = [costs.train_kind(arch, catalogue()["cifar100"], "float32") for arch in SMALL]
    for arch in SMALL:
        found.speed(arch, catalogue()["cifar100"], "float32")
    assert {found.scaled[kind] for kind in kinds} == {"from train strided_cnn 1x28x28"}


def cpu_of_jobs(classes):
    """Least CPU seconds of three lists of the jobs of a grid with so many forget sets."""
    one = {
        "dataset": "cifar100",
        "arch": "strided_cnn",
        "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
        "train_seeds": [0, 1, 2, 3],
        "scenarios": {"class_removal": {"forget": list(range(classes))}},
        "methods": ["fine_tuning", "negative_gradient", "random_labels", "duck"],
    }
    config, _ = plan({"run": "large", "experiments": [one]}, "large", catalogue())
    spent = []
    for _ in range(3):
        start = time.process_time()
        costs.jobs(config, catalogue(), lambda *_: 1.0, lambda *_: 1.0, [])
        spent.append(time.process_time() - start)
    return min(spent)


def test_ten_times_the_jobs_are_listed_in_about_ten_times_the_seconds():
    few, many = cpu_of_jobs(10), cpu_of_jobs(100)
    print(f"{few:.3f} s, {many:.3f} s")
    assert many < 25 * few


def took():
    """Seconds by job of the run made here, from the logs."""
    if not (RUN / "logs").is_dir():
        pytest.skip("results/mini has no logs: `make reproduce` makes them")
    found = estimate("mini")
    spent = {j.name: write_costs.worked(write_costs.log_of(j, RUN)) for j in found.jobs}
    quiet = {job.name for job in found.jobs if job.rule == "rulegraph"}  # Snakemake's own log
    assert {name for name, value in spent.items() if value is None} <= quiet
    return found, {name: value[0] if value else 0.0 for name, value in spent.items()}


def within(one, other):
    return 1 / FACTOR < one / other < FACTOR


def beside_its_trainings(table=None):
    """Seconds of the run's other jobs, estimated at the pace of its trainings, and as spent.

    A machine shared with others may be half as fast in the minutes of the run as when a test asks
    for its pace. So the pace is that of the run: its trainings' seconds beside the table's.
    """
    found, spent = took()
    plain = estimate("mini", table)
    trained = {j.name for j in found.jobs if j.rule in TRAININGS}
    paces = [spent[name] / plain.seconds[name] for name in trained]
    guessed = estimate("mini", table, statistics.median(paces))
    rest = spent.keys() - trained
    total, real = (sum(seconds[n] for n in rest) for seconds in (guessed.seconds, spent))
    print(
        f"{len(paces)} trainings at a pace of {min(paces):.2f} to {max(paces):.2f}, "
        f"{guessed.factor:.2f} in the middle; the rest {total:.0f} s for {real:.0f} s"
    )
    return total, real, guessed, spent


def test_the_estimate_of_the_embedded_grid_is_what_it_took():
    """Seconds that jobs worked, two at a time on two cores; the chain of the longest of them."""
    total, real, guessed, spent = beside_its_trainings()
    chain, longest = (costs.longest(guessed.jobs, s)[0] for s in (guessed.seconds, spent))
    used = sum(f.stat().st_size for f in RUN.rglob("*.safetensors") if "poison" not in f.name)
    print(f"chain {chain:.1f} s for {longest:.1f} s")
    assert within(total, real), (total, real, guessed.factor)
    assert within(chain, longest), (chain, longest, guessed.factor)
    assert within(guessed.storage()["models and outputs"], used)


def test_a_wrong_number_in_the_table_is_no_estimate():
    total, real, *_ = beside_its_trainings(slower(costs.read(TABLE), "unlearn", 3))
    assert not within(total, real)


def trained_here(seed):
    """CPU seconds that a training image takes this process, in the network that the pace times."""
    raw = yaml.safe_load((PROJECT / "configs/mini.yaml").read_text(encoding="utf-8"))
    recipe = Recipe(**raw["experiments"][0]["training"] | {"epochs": 1})
    torch.set_num_threads(1)
    data = load_dataset(PROJECT / "data/fashion_mnist_mini.safetensors").train
    model = build("resnet18_small", 10, 1).to(memory_format=torch.channels_last)
    train(model, data, torch.arange(500), recipe, seed, log=lambda _: None)  # warms up
    start = time.process_time()
    train(model, data, torch.arange(len(data)), recipe, seed, log=lambda _: None)
    return (time.process_time() - start) / len(data)


def test_the_pace_of_a_machine_foretells_its_trainings():
    """One right after the other, by as many threads or processes at once as there are cores."""
    table = costs.read(TABLE)
    cores = min(len(os.sched_getaffinity(0)), pace.MOST_THREADS)
    ratios = []
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in range(5):
            here = pace.pace() / table["pace"].seconds
            spent = statistics.mean(pool.map(trained_here, range(cores)))
            ratios.append(spent / table["train resnet18_small 1x28x28"].seconds / here)
    print("trainings beside the pace:", *(f"{ratio:.2f}" for ratio in ratios))
    assert within(statistics.median(ratios), 1), ratios


FIRST = """
import importlib, threading
from unlearning.jobs import pace

pace.STEPS, pace.BATCH, pace.REPEATS = 1, 2, 1
by, real = [], importlib.import_module


def noted(name, package=None):
    if name == "torchvision":
        by.append(threading.current_thread() is threading.main_thread())
    return real(name, package)


importlib.import_module = noted
pace.pace()
assert by[0], by  # by the main thread, before there are others
"""


def test_the_threads_of_the_pace_find_torchvision_imported():
    """Two that repair its import at once take modules from each other."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_says_how_often_each_number_was_measured():
    table = pd.read_csv(TABLE)
    assert (table["n"] >= 1).all() and (table["seconds"] > 0).all()
    ranged = table.dropna(subset=["low", "high"])
    assert (ranged["low"] <= ranged["seconds"] * 1.001).all()
    assert (ranged["seconds"] <= ranged["high"] * 1.001).all()


def test_snakemake_prints_the_estimate_and_makes_nothing(space):
    before = space.contents()
    status, text = space.snakemake("estimate", "--quiet", "all")
    assert status == 0, text
    assert "Estimate of run tiny" in text and "longest chain" in text and "train_original" in text
    assert space.contents() == before
    status, text = space.snakemake("estimate", "--config", "gpu=b9000")
    assert status != 0 and "unknown GPU 'b9000'" in text
