"""The benchmarks compare equals: same models, batches and results; their sums are right."""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn
from workspace import PROJECT

sys.path.insert(0, str(PROJECT / "benchmarks"))
import alternatives
import guard
import here
import ordinary
import ordinary_duck
import ordinary_measuring
import part_dag
import part_determinism
import part_duck
import part_measuring
import part_planning
import part_report
import part_training
import results_file
import run

from unlearning.metrics.membership import lira
from unlearning.results.shown import SOURCES
from unlearning.stages.score import score
from unlearning.training.loop import predict

# --- the same models ---


@pytest.mark.parametrize(("arch", "channels", "size", "_"), part_training.CASES)
def test_a_plain_twin_has_the_logits_and_gradients_of_our_model(arch, channels, size, _):
    data = part_training.random_images(8, channels, size)
    ours = part_training.start(arch, data)
    plain = ordinary.twin(arch, ours)
    images = data.normalise(data.images)
    a, b = ours(images), plain(images.contiguous())
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    for logits in (a, b):
        nn.functional.cross_entropy(logits, data.labels).backward()
    head = ours.head.weight.grad
    torch.testing.assert_close(head, plain.head.weight.grad, rtol=1e-2, atol=1e-3)
    other = ordinary.twin(arch, part_training.start(arch, data, seed=1))
    assert (other(images) - a).abs().max() > 0.1


def test_plain_images_are_ours_and_plain_training_takes_our_augmentation():
    data = part_training.random_images(6, 3, 32)
    plain = torch.stack([image for image, _ in ordinary.dataset(data)])
    torch.testing.assert_close(plain, data.normalise(data.images), rtol=1e-5, atol=1e-6)
    steps = ordinary.dataset(data, crop=4, flip=True).transform.transforms
    names = [type(step).__name__ for step in steps]
    assert names == ["RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]


# --- the same unlearning ---


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).double()


@pytest.fixture(scope="module")
def duck_case():
    """Twenty updates: two epochs of two batches to forget with five batches retained each."""
    settings = part_duck.settings("fashion_mnist_mini", "strided_cnn", epochs=2, batch_size=4)
    return part_duck.Case("strided_cnn", settings, "cpu", count=80)


def both_unlearned(case, workers=0, **changes):
    """The start, our model and the plain one, whose settings are changed, and their updates."""
    data = case.data("cpu")
    start = part_training.start("strided_cnn", data)
    ours, given = copy.deepcopy(start), part_duck.problem(data)
    part_duck.duck.unlearn(ours, given, case.settings)
    plain, images = ordinary.twin("strided_cnn", start), ordinary.dataset(data)
    settings = case.settings.model_copy(update=changes)
    generator = torch.Generator().manual_seed(part_duck.SEED)
    updates = ordinary_duck.unlearn(
        plain,
        images,
        *part_duck.parts(data),
        given.retained_classes,
        settings,
        generator,
        workers=workers,
    )
    return start, ours, plain, (given.updates, updates)


def share_of_the_way(start, ours, plain) -> float:
    """How far apart two models end, as a share of how far the first has moved."""
    gap = torch.linalg.vector_norm(weights(ours) - weights(plain))
    return float(gap / torch.linalg.vector_norm(weights(ours) - weights(start)))


def logit_gap(ours, plain) -> float:
    """The largest difference of logits, as a share of their spread."""
    data = part_training.random_images(40, 3, 32)
    logits = predict(ours, data)
    with torch.no_grad():
        others = plain.eval()(data.normalise(data.images))
    return float((logits - others).abs().max() / logits.std())


@pytest.mark.parametrize("workers", [0, 2])
def test_plain_duck_ends_where_ours_does(duck_case, workers):
    """Within 0.1 % of the way, not to the last digit: Adam divides by the gradient's size, so
    that rounding in a gradient near zero moves that weight by up to the whole learning rate."""
    start, ours, plain, updates = both_unlearned(duck_case, workers)
    assert updates == (20, 20)
    assert share_of_the_way(start, ours, plain) < 0.001
    assert logit_gap(ours, plain) < 0.001


@pytest.mark.parametrize("change", [{"lambda_forget": 1.0}, {"lambda_retain": 1.0}])
def test_another_lambda_ends_elsewhere(duck_case, change):
    start, ours, plain, _ = both_unlearned(duck_case, **change)
    assert share_of_the_way(start, ours, plain) > 0.05
    assert logit_gap(ours, plain) > 0.05


def test_the_stop_test_is_made_and_would_stop(duck_case):
    *_, updates = both_unlearned(duck_case, forget_target=1.0 + 1e-9)
    assert updates == (20, 10)


# --- the same measurements ---


def test_loops_give_our_scores_and_lira():
    cell, original, split = *map(part_measuring.outputs, (1, 0)), part_measuring.split()
    ours, loops = (f(cell, original, split) for f in (score, ordinary_measuring.score))
    assert ours == pytest.approx(loops, abs=1e-12)
    assert loops != pytest.approx(score(original, cell, split), abs=1e-3)
    targets, *pool = part_measuring.pool()
    by_loop = ordinary_measuring.lira(targets[0], *pool)
    np.testing.assert_allclose(lira(targets[0], *pool, "per_example"), by_loop, rtol=1e-9)
    assert np.abs(lira(targets[0], *pool, "global") - by_loop).max() > 0.1


def test_both_evaluations_give_the_same_accuracy():
    data = part_training.random_images(300, 1, 28)
    model = part_training.start("strided_cnn", data)
    batches = ordinary.loader(ordinary.dataset(data), 0, "cpu", batch_size=128)
    found = ordinary.accuracy(ordinary.twin("strided_cnn", model), batches, "cpu")
    hits = predict(model, data).argmax(1) == data.labels
    assert found == pytest.approx(hits.double().mean().item(), abs=1e-12)
    assert 0 < found < 1


# --- sums ---


def test_counted_flops_are_those_of_a_convolution_by_hand():
    """Two operations a product and sum; backward adds one more pass, for the weights alone."""
    by_hand = 2 * (8 * 8) * 5 * (3 * 3 * 3)
    found = here.flops(nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.rand(4, 3, 8, 8))
    assert found == {"forward": by_hand, "training": 2 * by_hand}


def test_the_floor_of_a_step_by_hand():
    """2 MFLOP an image at 100 images/s are 0.2 GFLOP/s; at 1 GFLOP/s 50 images take 0.1 s."""
    found = results_file.floor(rate=100, flops=2e6, peak=1.0, units=50)
    assert found == pytest.approx({"gflops": 0.2, "share": 0.2, "floor": 0.1, "measured": 0.5})


def test_the_arithmetic_of_a_duck_run_is_what_a_run_counts(duck_case):
    data = duck_case.data("cpu")
    model, given = part_training.start("strided_cnn", data), part_duck.problem(data)
    with here.FlopCounterMode(display=False) as counter:
        part_duck.duck.unlearn(model, given, duck_case.settings)
    classes, width = model.head.weight.shape
    headless = 2 * classes * width * (len(data) + 3 * 4 * given.updates)  # for embeddings alone
    distances = 2 * len(given.forget) * len(given.retained_classes) * width
    counted = counter.get_total_flops() + headless - distances
    assert part_duck.arithmetic(duck_case) == counted


def test_ratios_are_of_neighbours_and_say_which_is_faster():
    assert results_file.speed_ratios([1.0, 2.0], [4.0, 2.0], "s") == [4.0, 1.0]
    assert results_file.speed_ratios([1.0, 2.0], [4.0, 2.0], "images/s") == [0.25, 1.0]


def environment(name: str):
    def run() -> int:
        assert os.environ[name] == "here" and torch.get_num_threads() == 1
        return 7

    return run


def test_alternatives_take_turns_in_processes_with_their_own_environment():
    order = []
    runs = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    assert alternatives.in_turn(runs, 2) == {"a": [3, 5], "b": [4, 6]}
    assert "".join(order) == "ababab"
    side = alternatives.Alternative("x", environment, {"name": "Y"}, 1, 1, {"Y": "here"})
    found = alternatives.compare("t", [side], 1, "images/s", flops=1.0)
    assert found["values"]["x"][0] > 0 and found["peaks"]["x"] > 0
    broken = alternatives.Alternative("x", environment, {"name": "Y"}, 1, 1, {"Y": "there"})
    with pytest.raises(EOFError):
        alternatives.compare("t", [broken], 1, "images/s")


def test_the_environment_of_a_job_is_that_of_the_workflow():
    rules = (PROJECT / "workflow/rules/start.smk").read_text(encoding="utf-8")
    sizes = {str(2**32): "2**32", str(2**30): "2**30"}
    for name, value in alternatives.JOB.items():
        assert f'"{name}", str({sizes[value]})' in rules


# --- what is printed ---

FACTS = {"CPU": "some", "commit": "abc", "command": "python benchmarks/run.py"}
COMPARISON = {
    "title": "a case",
    "unit": "s",
    "values": {"ours": [1.0, 2.0, 4.0], "plain": [4.0, 4.0, 4.0]},
    "flops": 1e9,
    "peaks": {"ours": 2.0, "plain": 4.0},
    "processes": {"ours": 1, "plain": 1},
    "lines": ["said of it"],
}


def test_results_show_medians_ratios_floors_and_what_was_not_run(tmp_path):
    results_file.keep(
        tmp_path, "duck", FACTS, [COMPARISON, {"title": "GPU", "not_run": "no GPU here"}]
    )
    results_file.write(tmp_path, ["duck", "dag"], tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| ours"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:6] == ["ours", "3", "2", "1 – 4", "2", "1 – 4"]
    assert cells[6:] == ["0.5", "2", "25 %", "500", "2,000"]
    assert "**GPU**: not run: no GPU here" in text and "- said of it" in text
    assert text.rstrip().endswith("## dag\n\nNot run.")
    assert "different commits" not in text and text.count("- commit: abc") == 1


def test_results_say_that_parts_come_from_different_commits(tmp_path):
    results_file.keep(tmp_path, "duck", FACTS, [COMPARISON])
    results_file.keep(tmp_path, "dag", FACTS | {"commit": "def"}, [COMPARISON])
    results_file.write(tmp_path, ["duck", "dag"], tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "different commits" in text
    assert text.index("## duck") < text.index("- commit: abc") < text.index("- commit: def")
    assert text.count("- CPU: some") == 1


def results(folder, values, **facts):
    """The text of RESULTS.md with one comparison, of seconds of ours and the plain way."""
    results_file.keep(folder, "duck", FACTS | facts, [COMPARISON | {"values": values}])
    results_file.write(folder, ["duck"], folder / "RESULTS.md")
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("now", "facts", "named"),
    [
        ({"ours": [1.0, 1.1, 1.2], "plain": [4.0, 4.0, 4.0]}, {}, []),
        # one repetition as fast as before: within the spread
        ({"ours": [1.2, 2.0, 2.0], "plain": [4.0, 4.0, 4.0]}, {}, []),
        ({"ours": [2.0, 2.1, 2.2], "plain": [4.0, 4.0, 4.0]}, {}, ["ours: 1.9", "ours: 2.1"]),
        # all slower alike: another load of the same machine, told by the seconds alone
        (
            {"ours": [2.0, 2.2, 2.4], "plain": [8.0, 8.0, 8.0]},
            {},
            ["ours: 2.2", "plain: 8"],
        ),
        ({"ours": [2.0, 2.2, 2.4], "plain": [8.0, 8.0, 8.0]}, {"CPU": "another"}, []),
        (
            {"ours": [4.0, 4.2, 4.4], "plain": [8.0, 8.0, 8.0]},
            {"CPU": "another"},
            ["ours: 1.9"],
        ),
    ],
)
def test_what_got_slower_by_more_than_both_spreads_is_named(tmp_path, now, facts, named):
    before = results(tmp_path, {"ours": [1.0, 1.1, 1.2], "plain": [4.0, 4.0, 4.0]})
    found = guard.slower(before, results(tmp_path, now, **facts), "duck")
    assert len(found) == len(named)
    for line, start in zip(found, named, strict=True):
        assert line.startswith(f"duck: a case: {start}") and ", before " in line
    assert guard.slower(before, before, "duck") == []
    assert guard.slower("", before, "duck") == [] == guard.slower(before, before, "dag")


def test_the_guard_reads_every_table_of_the_committed_results():
    text = (PROJECT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    found = guard.rows(text)
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    heads = [line for line in tables if line.startswith(("| ---", "| alternative"))]
    assert len(found) == len(tables) - len(heads) > 10
    assert all(None not in guard.machine(text, part) for part, _, _ in found)


def test_no_path_of_this_machine_and_no_unknown_part_gets_into_the_results(capsys):
    facts = here.facts("python benchmarks/run.py")
    assert 0 <= float(facts["cores busy with other work just before"]) <= os.cpu_count()
    assert not any(
        value.startswith("/") or os.uname().nodename in value for value in facts.values()
    )
    for wrong in (["nothing"], ["dag", "--config", "/x.yaml"]):
        with pytest.raises(SystemExit):
            run.main(wrong)
    assert "no part nothing" in capsys.readouterr().err


# --- planning ---


def test_a_plan_is_measured_by_its_jobs_and_its_own_memory():
    """The grid of one class: fewer megabytes than this process, which holds torch."""
    found = part_planning.planned(part_planning.grid(1, 1))
    # fetch, split, shadows, score, attack and probe of ten seeds, ensemble, tables and figures
    assert found["jobs"] == 233 and found["cpu"] > 0 and 50 < found["mb"] < 200
    twice = {"jobs": 433, "cpu": found["cpu"] + 2.0, "mb": found["mb"] + 10}
    line = part_planning.account([twice, twice | {"cpu": 99.0}], found)
    assert line.startswith("433 jobs: 10.0 ms of CPU and 50 kB a job, ")


# --- what jobs log ---


@pytest.mark.parametrize(
    ("log", "work"),
    [
        ("epoch 1\nworked 2.310 s, 2.204 s of CPU, 300 MB\n", (2.31, 2.204)),
        ("worked 2.310 s, 2.204 s of CPU, 300 MB\nan error\n", None),
        ("it worked 2.310 s, 2.204 s of CPU, 300 MB\n", None),
        ("", None),
    ],
)
def test_a_job_says_its_work_in_its_last_line(log, work):
    assert part_dag.work_of(log) == work


def test_the_accounts_of_a_run(tmp_path):
    logs = {
        "data/logs/x.log": "worked 1.000 s, 0.500 s of CPU, 300 MB",
        "results/tiny/logs/train/a.log": "worked 4.000 s, 3.000 s of CPU, 300 MB",
        "results/tiny/logs/train/b.log": "worked 3.000 s, 3.000 s of CPU, 300 MB",
        "results/tiny/logs/collect.log": "nothing",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = part_dag.accounts(part_dag.jobs_of(tmp_path, "tiny"), wall=8.0, cores=2)
    assert "cores x wall: 2 x 8.0 s = 16.0 s" in lines
    assert "work of 3 of 4 jobs: 8.0 s, 6.5 s of CPU" in lines
    assert "scheduling, start-up and idle: 50% of cores x wall" in lines
    assert "train: 2 jobs, 7.0 s, 6.0 s of CPU" in lines and "unmeasured: collect.log" in lines
    nothing = part_dag.accounts({"collect.log": None}, wall=8.0, cores=2)
    assert nothing[1:] == ["work of 0 of 1 jobs: 0.0 s, 0.0 s of CPU", "unmeasured: collect.log"]


def test_every_figure_of_the_reference_run_is_drawn_from_its_own_file(tmp_path):
    found = part_report.commands(tmp_path)
    assert set(found) == {"all tables", *SOURCES} - {"tuning"}  # the search is of another run
    for figure in set(found) - {"all tables"}:
        assert found[figure][2] == str(PROJECT / f"paper/reference/mini/{SOURCES[figure]}.csv")


def test_the_speeds_in_the_documents_are_those_of_the_committed_results():
    text = (PROJECT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    parts = dict(block.split("\n", 1) for block in text.split("\n## ")[1:])
    page = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    said = " ".join(page.split())

    def ratios(part, arch):
        """The ratios of our alternatives in the tables on `arch`, smallest and largest."""
        tables = [b for b in parts[part].split("\n**")[1:] if b.startswith(arch)]
        rows = [line.split("|") for b in tables for line in b.splitlines() if "| ours" in line]
        found = [float(row[5]) for row in rows]
        return f"{min(found):.1f} to {max(found):.1f}"

    assert f"trains {ratios('training', 'strided_cnn')} times as fast as the ordinary" in said
    assert f"a DUCK run on it is {ratios('duck', 'strided_cnn')} times as fast" in said
    resnet = [ratios(part, "resnet18").split(" to ") for part in ("training", "duck")]
    span = f"{min(low for low, _ in resnet)} to {max(high for _, high in resnet)}"
    assert f"ResNet-18 gains less there ({span} times)" in said
    idle = int(re.search(r"scheduling, start-up and idle: (\d+)%", parts["dag"])[1])
    assert f"{100 - idle} % of an embedded run is work" in said


def test_repeated_runs_of_one_seed_are_the_same_on_a_cpu_and_a_spread_is_told(monkeypatch):
    for name in (*alternatives.JOB, "UNLEARNING_DEVICE", "UNLEARNING_DETERMINISTIC"):
        monkeypatch.setenv(name, "")  # so that what `repetitions` sets is put back
    found = part_determinism.repetitions("0", "cpu", 2, 1)
    assert part_determinism.spread(found).count("all the same") == len(part_determinism.MEASURED)
    found[1]["AUS"] += 0.01
    assert "(apart by 0.0100)" in part_determinism.spread(found)


def test_determinism_is_not_measured_without_a_gpu(monkeypatch):
    monkeypatch.setattr(part_determinism, "devices", lambda: ["cpu"])
    options = argparse.Namespace(repetitions=1, scale=0.1)
    (comparison,) = part_determinism.measure(options)
    assert comparison["not_run"] == "no GPU here"
