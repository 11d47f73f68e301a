"""Unlearning jobs that are killed: the next process goes on, and every bit is as if it had not."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import time

import pytest
import torch
from conftest import FEW, METHOD_FILES, TinyRun
from faults import Child, die, leftovers
from test_methods import METHODS, REAL, equal, settings_of

from unlearning import methods
from unlearning.config import hyperparameters
from unlearning.files import DamagedFile, canonical_json, load_tensors, save_tensors
from unlearning.methods.base import Problem
from unlearning.plan import grid
from unlearning.records.record import read_record
from unlearning.runtime.job import run_verb
from unlearning.runtime.stopwatch import Stopwatch
from unlearning.training import checkpoint
from unlearning.training.optim import SGD, Adam

EPOCHS = 3
WITHOUT_EPOCHS = ("original", "original_erm", "oracle", "ssd")


class Killed(BaseException):
    """Ends a session in this process."""


@pytest.fixture(autouse=True)
def _each_epoch(monkeypatch):
    """A state after each epoch, however short."""
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


@pytest.fixture
def job(make_images, make_start, make_problem, tmp_path):
    """Runs a method from the same start with or without a state file; gives model and problem."""
    data = make_images()

    def run(name, state=tmp_path / "state.safetensors", case=(), **changes):
        module = methods.load(name)
        always = {"epochs": EPOCHS, "stop": "never", "batch_size": 5, "noise_copies": 2}
        fields = module.Settings.model_fields
        changes = {key: value for key, value in always.items() if key in fields} | changes
        model = make_start(name, head_dropout=0.3)
        torch.manual_seed(7)  # as the stage does
        problem = make_problem(data, touches=module.TOUCHES, state=state, **dict(case))
        problem.whole.start()
        problem.stopwatch.start()
        model = module.unlearn(copy.deepcopy(model), problem, settings_of(name, **changes))
        problem.stopwatch.stop()
        problem.whole.stop()
        return model, problem

    return run


@pytest.fixture
def killed_after(monkeypatch):
    """Let a session end right after it has saved its n-th state; None: let it run."""
    real, left = checkpoint.save, [None]

    def save(*arguments):
        real(*arguments)
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    monkeypatch.setattr(checkpoint, "save", save)
    return lambda number: left.__setitem__(0, number)


def until_done(run, killed_after) -> tuple:
    """Sessions that each save one state and are killed; the last one's result and their number."""
    for kills in range(20):
        killed_after(1)
        try:
            return *run(), kills
        except Killed:
            continue
    raise AssertionError("it never ends")


def counts(problem: Problem) -> tuple:
    return problem.updates, problem.history, problem.stopped


# --- every method ---


@pytest.mark.parametrize("name", METHODS)
def test_a_method_killed_after_each_of_its_epochs_gives_the_same_bits(
    name, job, killed_after, tmp_path
):
    expected, whole = job(name, state=None)
    assert not list(tmp_path.iterdir())
    found, problem, kills = until_done(lambda: job(name), killed_after)
    assert equal(found, expected) and counts(problem) == counts(whole)
    assert problem.resumed == kills
    assert (kills == 0) == (name in WITHOUT_EPOCHS)


@pytest.mark.parametrize("name", [name for name in REAL if name not in WITHOUT_EPOCHS])
def test_a_method_killed_in_the_middle_of_an_epoch_gives_the_same_bits(name, job, monkeypatch):
    """Two updates before the end, and one update before it: some are done twice."""
    expected, whole = job(name, state=None)
    real, last = Problem.step, [whole.updates - 2]

    def step(self, optimizer, loss):
        if self.updates == last[0]:
            raise Killed
        real(self, optimizer, loss)

    monkeypatch.setattr(Problem, "step", step)
    for more in (1, 1000):
        with pytest.raises(Killed):
            job(name)
        last[0] += more
    found, problem = job(name)
    assert equal(found, expected) and counts(problem) == counts(whole) and problem.resumed


RELEASED = {"targets": "released", "shuffle_forget": True, "second_phase": True}
SWITCHED = {
    "released DUCK": ("duck_released", RELEASED),
    "DUCK with moving centroids": ("duck_ablated", {"centroids": "moving"}),
    "DUCK with half of the data": ("duck_ablated", {"retain_share": 0.5, "target": "random"}),
    "a schedule": ("negative_gradient", {"milestones": [1, 2]}),
}


@pytest.mark.parametrize("variant", SWITCHED)
@pytest.mark.parametrize("stop", ["never", "test"])
def test_switches_that_hand_something_on(variant, stop, job, killed_after):
    name, changes = SWITCHED[variant]
    run = lambda **more: job(name, stop=stop, forget_target=0.0, **changes, **more)  # noqa: E731
    expected, whole = run(state=None)
    found, problem, kills = until_done(run, killed_after)
    assert equal(found, expected) and counts(problem) == counts(whole)
    assert kills == EPOCHS + 2 * (name == "duck_released")


@pytest.mark.parametrize("case", [{"forget_classes": (0, 2)}, {"forget_classes": ()}])
@pytest.mark.parametrize("name", ["duck_released", "scar", "salun"])
def test_other_forget_sets(name, case, job, killed_after):
    expected, whole = job(name, state=None, case=case)
    found, problem, kills = until_done(lambda: job(name, case=case), killed_after)
    assert equal(found, expected) and counts(problem) == counts(whole) and kills >= EPOCHS


# --- the stop test ---


@pytest.mark.parametrize("name", ["duck", "scar", "duck_released", "negative_gradient"])
def test_no_epoch_follows_a_stop(name, job, killed_after):
    """Killed after the state that the passed test has saved: the next session has nothing to do."""
    stops = {"stop": "test", "forget_target": 1.0}
    stops |= {"second_phase": False} if name == "duck_released" else {}
    stops |= {"lr": 0.01} if name == "negative_gradient" else {}
    expected, whole = job(name, state=None, **stops)
    assert whole.stopped and len(whole.history) < EPOCHS
    *_, kills = until_done(lambda: job(name, **stops), killed_after)
    assert kills == len(whole.history)
    killed_after(None)
    found, problem = job(name, **stops)
    assert equal(found, expected) and counts(problem) == counts(whole)
    assert problem.resumed == kills


def test_a_second_phase_follows_a_stop(job, killed_after):
    stops = {**RELEASED, "stop": "test", "forget_target": 1.0}
    expected, whole = job("duck_released", state=None, **stops)
    found, problem, kills = until_done(lambda: job("duck_released", **stops), killed_after)
    assert equal(found, expected) and counts(problem) == counts(whole)
    assert kills == len(whole.history) + 2


# --- the state itself ---


def changed(tensors: dict, part: str) -> dict:
    """The state with one part of it missing or as at the start."""
    if part in ("random.own", "random.torch"):
        return tensors | {part: torch.Generator().manual_seed(99).get_state()}
    left = {name: tensor for name, tensor in tensors.items() if not name.startswith(part)}
    assert len(left) < len(tensors), f"{part} is not in the state"
    return left


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("fine_tuning", "random.own"),
        ("fine_tuning", "random.torch"),
        ("fine_tuning", "optim"),
        ("negative_gradient_plus", "kept.batches of forget"),
        ("scar", "kept.batches of surrogate"),
        ("duck", "optim"),
    ],
)
def test_each_part_of_the_state_counts(name, part, job, killed_after, tmp_path):
    """The control: the comparison of weights sees a state that lacks something."""
    expected, _ = job(name, state=None)
    killed_after(1)
    with pytest.raises(Killed):
        job(name)
    killed_after(None)
    path = tmp_path / "state.safetensors"
    tensors = load_tensors(path)
    save_tensors(path, changed(tensors, part))
    assert not equal(job(name)[0], expected)
    save_tensors(path, tensors)
    assert equal(job(name)[0], expected)


def test_the_learning_rate_and_its_schedule_go_on(job, killed_after, monkeypatch):
    """Killed before and after a milestone; without the saved rate the weights are others."""
    schedule = {"milestones": [1, 2], "epochs": 4, "lr": 0.1}
    expected, _ = job("fine_tuning", state=None, **schedule)
    killed_after(2)
    with pytest.raises(Killed):
        job("fine_tuning", **schedule)
    killed_after(None)
    real = checkpoint.Saved.restore

    def at_first(self, model, optimizer, *rest):
        self.numbers["learning_rates"] = [group["lr"] for group in optimizer.param_groups]
        real(self, model, optimizer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Saved, "restore", at_first)
        patch.setattr(checkpoint, "INTERVAL", 1000.0)
        assert not equal(job("fine_tuning", **schedule)[0], expected)
    assert equal(job("fine_tuning", **schedule)[0], expected)


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_what_the_optimizer_holds_keeps_its_layout_in_memory(kind, make_cnn, tmp_path):
    """Channels last, as the stage's models are: else the steps may take another path in torch."""

    def stepped(seed, steps):
        model = make_cnn(seed=seed).to(memory_format=torch.channels_last)
        optimizer = kind(model.parameters(), lr=0.1, weight_decay=0.1)
        for group in optimizer.param_groups:
            group["momentum"] = 0.9
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.ones(2, 1, 12, 12)).square().sum().backward()
            optimizer.step()
        return model, optimizer, torch.Generator()

    path, first, second = tmp_path / "state", stepped(0, 2), stepped(1, 0)
    checkpoint.save(path, {}, *first, {})
    checkpoint.Saved(path).restore(*second, {})
    states = [found[1].state_dict()["state"] for found in (first, second)]
    assert states[0].keys() == states[1].keys()
    pairs = [(t, states[1][i][name]) for i, slots in states[0].items() for name, t in slots.items()]
    assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in pairs)
    assert not all(tensor.is_contiguous() for tensor, _ in pairs)


def test_a_state_that_is_cut_off_is_named(job, killed_after, tmp_path):
    killed_after(1)
    with pytest.raises(Killed):
        job("duck")
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match="state"):
        job("duck")


def test_a_short_job_writes_no_state(job, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 10.0)
    job("duck")
    assert not list(tmp_path.iterdir())


# --- clocks ---


@pytest.mark.parametrize("name", ["duck", "duck_released", "salun"])
def test_both_clocks_show_what_an_uninterrupted_run_took(name, job, killed_after, monkeypatch):
    """A clock that moves by 1 an update and by 1000 a state, which is nobody's unlearning."""
    now, step, save = [0.0], Problem.step, checkpoint.save

    def counted(amount, real):
        def call(*arguments):
            now[0] += amount
            return real(*arguments)

        return call

    monkeypatch.setattr(Problem, "step", counted(1.0, step))
    monkeypatch.setattr(checkpoint, "save", counted(1000.0, save))
    monkeypatch.setattr(Stopwatch, "_now", lambda self: now[0])
    _, whole = job(name, state=None)
    _, problem, kills = until_done(lambda: job(name), killed_after)
    assert kills > 1 and problem.updates > 0
    seconds = problem.stopwatch.seconds, problem.whole.seconds
    assert seconds == (whole.stopwatch.seconds, whole.whole.seconds) == (problem.updates,) * 2


# --- the stage, in processes of its own ---


@pytest.fixture(scope="module")
def stage(tmp_path_factory, _one_thread):
    """What the stage needs: an original and a forget set of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNING_DEVICE", "cpu")
        run = TinyRun(tmp_path_factory.mktemp("killed"))
        run.train()
        split = grid.splits(run.experiment)[0]
        run.call("split", data=run.data, settings=split.settings, out=run.split_file(split))
        yield Cells(run, split)


class Cells:
    """Cells of one forget set: each in a folder of its own."""

    def __init__(self, run: TinyRun, split: grid.Split) -> None:
        self.run, self.split = run, split

    def folder(self, name):
        return self.run.root / name

    def start(self, name, method, before=lambda: None, published=None, **changes) -> Child:
        """Run `python -m unlearning unlearn …` in a process; `before` is called in it."""
        identity = {"dataset": "tiny", "arch": "strided_cnn", "scenario": self.split.scenario}
        found = hyperparameters.resolve(method, identity, {}, METHOD_FILES)
        found |= {key: min(value, EPOCHS) for key, value in found.items() if key in FEW} | changes
        settings = {k: v for k, v in self.run.model_settings().items() if k != "training"}
        settings |= {"scenario": self.split.scenario, "split": self.split.key, "method": method}
        settings |= {"base_method": method, "hyperparameters": found, "unlearn_seed": 0}
        settings |= {"start_arch": settings["arch"]}
        settings |= {} if published is None else {"published_epochs": published}
        start, folder = self.run.model_folder(), self.folder(name)
        options = {"data": self.run.data, "split": self.run.split_file(self.split)}
        options |= {"start": start / "model.safetensors", "start-record": start / "record.json"}
        options |= {"settings": canonical_json(settings), "record": folder / "record.json"}
        options |= {key: folder / f"{key}.safetensors" for key in ("model", "outputs")}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        folder.mkdir(exist_ok=True)

        def work():
            before()
            run_verb(["unlearn", *words])

        return Child(work, folder.with_suffix(".log"))

    def record(self, name) -> dict:
        return read_record(self.folder(name) / "record.json")

    def same(self, name, other) -> bool:
        files = [self.folder(folder) / "model.safetensors" for folder in (name, other)]
        return files[0].read_bytes() == files[1].read_bytes()


def on_call(owner, name: str, number: int, do) -> None:
    """In this process: `do` before the n-th call of a function, in place of it after that."""
    real, calls = getattr(owner, name), []

    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            do()
        return real(*arguments, **options)

    setattr(owner, name, call)


@pytest.mark.parametrize("method", ["duck", "negative_gradient_plus"])
def test_a_process_killed_at_any_moment_loses_nothing(method, stage):
    """By SIGKILL: in an epoch, before and after a state gets its name, and after the last epoch."""
    whole, name = f"{method}-whole", f"{method}-killed"
    assert stage.start(whole, method, stop="never").end() == 0
    steps = stage.record(whole)["updates"]
    deaths = [
        (Problem, "step", steps // 2),
        (os, "replace", 1),
        (os, "fsync", 2),
        (Problem, "step", 2),
        (checkpoint, "save", 1),
    ]
    for death in deaths:
        child = stage.start(name, method, before=lambda d=death: on_call(*d, die), stop="never")
        assert child.end() == -signal.SIGKILL, child.words
        assert not (stage.folder(name) / "record.json").exists()
        for state in stage.folder(name).glob("resume/*.safetensors"):
            load_tensors(state)
    child = stage.start(name, method, stop="never")
    assert child.end() == 0, child.words
    assert stage.same(name, whole) and not leftovers(stage.folder(name))
    names = sorted(path.name for path in stage.folder(name).rglob("*"))
    assert names == ["model.safetensors", "outputs.safetensors", "record.json"]
    record, expected = stage.record(name), stage.record(whole)
    for key in ("updates", "forget_accuracy_by_epoch", "status", "capped"):
        assert record[key] == expected[key], key
    assert (record["resumed"], expected["resumed"]) == (2, 0)
    assert 0 < record["unlearning_seconds"] <= record["official_seconds"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_told_to_end_does_so_at_once(number, stage):
    """In the middle of an epoch that would take a minute; the epoch before it is not lost."""
    name, whole = f"told-{number}", "told-whole"
    if not stage.folder(whole).exists():
        assert stage.start(whole, "duck", stop="never").end() == 0
    per_epoch = stage.record(whole)["updates"] // EPOCHS

    def before():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        on_call(Problem, "step", per_epoch + 2, lambda: time.sleep(60))

    with stage.start(name, "duck", before=before, stop="never") as child:
        until = time.monotonic() + 60
        while not list(stage.folder(name).glob("resume/*.safetensors")):
            assert time.monotonic() < until, child.words
            time.sleep(0.02)
        time.sleep(0.3)
        asked = time.monotonic()
        child.kill(number)
        assert child.end() != 0 and time.monotonic() - asked < 5
    assert stage.start(name, "duck", stop="never").end() == 0
    assert stage.same(name, whole) and stage.record(name)["resumed"] == 1


def test_a_state_of_other_settings_is_not_gone_on_from(stage):
    """The state of another learning rate lies in the folder: not read, and removed at the end."""
    stop = {"stop": "never"}
    kill = lambda: on_call(checkpoint, "save", 2, die)  # noqa: E731
    assert stage.start("other", "duck", before=kill, lr=0.01, **stop).end() == -signal.SIGKILL
    assert list(stage.folder("other").glob("resume/*.safetensors"))
    assert stage.start("other", "duck", **stop).end() == 0
    assert stage.start("clean", "duck", **stop).end() == 0
    assert stage.same("other", "clean") and stage.record("other")["resumed"] == 0
    assert not (stage.folder("other") / "resume").exists()


@pytest.mark.parametrize(
    ("published", "stops", "capped"),
    [
        (200, {"stop": "never"}, True),
        (EPOCHS, {"stop": "never"}, False),
        (None, {"stop": "never"}, False),
        (200, {"stop": "test", "forget_target": 1.0}, False),
        (200, {"stop": "test", "forget_target": 0.0}, True),
        (200, {"stop": "never", "lr": 1e30}, False),
    ],
)
def test_a_record_says_whether_the_cap_on_epochs_mattered(published, stops, capped, stage):
    name = "capped"
    shutil.rmtree(stage.folder(name), ignore_errors=True)
    child = stage.start(name, "negative_gradient", published=published, **stops)
    assert child.end() == 0, child.words
    record = stage.record(name)
    assert record["capped"] is capped
    assert (record["status"] == "diverged") == ("lr" in stops)
