"""Models that were made elsewhere: read, checked, refused in a line, and measured beside ours."""

from __future__ import annotations

import copy
import os
import re
import sys

import pandas as pd
import pytest
import torch
from conftest import METHOD_FILES
from scipy.stats import binomtest
from torch import nn
from workspace import PROJECT, Workspace

from unlearning.config.elsewhere import factory_file
from unlearning.config.parsing import ConfigError, parse
from unlearning.data.catalogue import catalogue
from unlearning.files import canonical_json, load_tensors, read_json, save_tensors, sha256_file
from unlearning.models import build
from unlearning.models.foreign import fitted, read, reordered
from unlearning.plan import checks, grid, identity
from unlearning.records.record import read_record
from unlearning.runtime.vision import torchvision
from unlearning.stages.take import Useless, check_useful, upper_bound

PAGE = (PROJECT / "docs/own_model.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)
DATASETS = catalogue(PROJECT / "configs/datasets.csv")
RECIPE = {"epochs": 1, "batch_size": 64, "lr": 0.1}


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


# --- files ---


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return state_of(nn.Linear(3, 2))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"net": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {"model": {f"model.{k}": v for k, v in state.items()}}},
    ],
)
def test_a_state_dict_is_found_however_it_is_wrapped(wrap, weights, tmp_path):
    torch.save(wrap(weights), tmp_path / "saved.pth")
    found = read(tmp_path / "saved.pth")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_safetensors_and_half_precision_are_read(weights, tmp_path):
    halves = {f"module.{name}": tensor.half() for name, tensor in weights.items()}
    save_tensors(tmp_path / "saved.safetensors", halves)
    assert read(tmp_path / "saved.safetensors")["bias"].dtype == torch.float16


class Attack:
    """What unpickling would run."""

    def __reduce__(self):
        return os.system, ("touch unpickled",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Attack()}, "saved.pth")
    with pytest.raises(ValueError, match=r"saved\.pth: holds more than weights"):
        read("saved.pth")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("name", ["saved.pth", "saved.safetensors"])
def test_a_damaged_file_is_named_in_a_line(name, tmp_path):
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=name) as refused:
        read(tmp_path / name)
    assert "\n" not in str(refused.value) and "verify" not in str(refused.value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {"weight": 3}}, torch.zeros(2)])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "saved.pth")
    with pytest.raises(ValueError, match=r"is no tensor|no weights in it"):
        read(tmp_path / "saved.pth")


# --- names and shapes ---


@pytest.mark.parametrize("head", ["fc", "fc.1"])
def test_torchvisions_resnet_gives_its_logits(head):
    torch.manual_seed(0)
    theirs = torchvision().models.resnet18(num_classes=10).eval()
    state = {name.replace("fc.", f"{head}."): tensor for name, tensor in state_of(theirs).items()}
    ours = build("resnet18", 10, 3).eval()
    ours.load_state_dict(fitted(state, ours, "resnet18", "saved.pth"))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_torchvisions_vit_and_our_own_names_fit():
    ours = build("vit_b16", 10, 3)
    own = state_of(ours)
    renamed = {
        name.replace("backbone.vit.", "").replace("head.", "heads.head."): tensor
        for name, tensor in own.items()
    }
    assert set(renamed) == set(torchvision().models.vit_b_16(num_classes=10).state_dict())
    for state in (own, renamed):
        found = fitted(state, ours, "vit_b16", "saved.pth")
        assert all(torch.equal(found[name], own[name]) for name in own)


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return state_of(torchvision().models.resnet18(num_classes=10))


@pytest.mark.parametrize(
    ("classes", "arch", "change", "words"),
    [
        (100, "resnet18", {}, "its head has 10 outputs, the data set 100 classes"),
        (10, "resnet18_3x3", {}, r"conv1.weight is \[64, 3, 7, 7\] there and \[64, 3, 3, 3\]"),
        (10, "resnet34", {}, "does not fit resnet34: no backbone.layer1.2.bn1.bias, .* more$"),
        (10, "resnet18", {"extra": torch.zeros(1)}, "does not fit resnet18: also backbone.extra"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(classes, arch, change, words, resnet):
    model = build(arch, classes, 3)
    with pytest.raises(ValueError, match=words) as refused:
        fitted(resnet | change, model, arch, "saved.pth")
    assert str(refused.value).startswith("saved.pth: ") and "\n" not in str(refused.value)


def test_counts_of_batches_may_be_missing(resnet):
    model = build("resnet18", 10, 3)
    few = {name: t for name, t in resnet.items() if "num_batches" not in name}
    assert len(few) < len(resnet)
    assert fitted(few, model, "resnet18", "saved.pth").keys() == model.state_dict().keys()


def test_outputs_are_put_into_the_order_of_the_classes():
    state = {"head.weight": torch.arange(6.0).view(3, 2), "head.bias": torch.arange(3.0)}
    found = reordered(state, ["dog", "eel", "Cat "], ["cat", "dog", "eel"], "saved.pth")
    assert found["head.bias"].tolist() == [2, 0, 1]
    assert found["head.weight"].tolist() == [[4, 5], [0, 1], [2, 3]]
    for names, words in (
        (["dog", "cat", "ox"], "'ox' is no class"),
        (["dog", "cat", "cat"], "one"),
    ):
        with pytest.raises(ValueError, match=f"class_names: {words}"):
            reordered(state, names, ["cat", "dog", "eel"], "saved.pth")


# --- accuracy ---


@pytest.mark.parametrize(("right", "count"), [(0, 50), (13, 100), (99, 100), (50, 50)])
def test_the_bound_is_that_of_the_exact_test(right, count):
    exact = binomtest(right, count, alternative="less").proportion_ci(0.99).high
    assert upper_bound(right / count, count, 0.99) == pytest.approx(exact)


@pytest.mark.parametrize(
    ("test", "count", "classes", "useful"),
    [
        (0.1, 10_000, 10, False),
        (0.19, 10_000, 10, False),
        (0.195, 10_000, 10, True),  # its bound is above 0.2
        (0.1, 20, 10, True),  # too few images to say
        (0.5, 1000, 2, False),
        (0.8, 1000, 2, True),
    ],
)
def test_an_original_that_may_be_guessing_is_refused(test, count, classes, useful):
    if useful:
        return check_useful(test, count, classes, "saved.pth")
    with pytest.raises(
        Useless, match=r"saved.pth: .* of the \d+ test images .* check mean and std"
    ):
        check_useful(test, count, classes, "saved.pth")


# --- configs ---


def config(**changes):
    experiment = {
        "dataset": "cifar10",
        "original": {"weights": "mine.pth", "arch": "resnet18"},
        "train_seeds": [0],
        "scenarios": {"class_removal": {"forget": [0]}},
        "methods": ["duck"],
    }
    found = {key: value for key, value in (experiment | changes).items() if value is not None}
    methods = [path.stem for path in METHOD_FILES.glob("*.yaml")]
    return parse({"run": "mine", "experiments": [found]}, "mine.yaml", DATASETS, methods)


def test_without_training_there_is_no_oracle():
    (experiment,) = config().experiments
    assert [v.name for v in experiment.variants] == ["original", "duck"]
    (trained,) = config(training=RECIPE).experiments
    assert [v.name for v in trained.variants] == ["original", "oracle", "duck"]


def test_a_checked_config_is_read_again_as_it_was():
    theirs = {"theirs": {"weights": "{scenario}/{split}/{train_seed}.pth"}}
    arch = {"factory": "nets.mine:make", "head": "classifier.1"}
    given = {"weights": "mine.pth", "arch": arch, "mean": [0.5] * 3, "std": [1] * 3}
    found = config(original=given, unlearned=theirs)
    assert found.experiments[0].arch == "nets.mine:make@classifier.1"
    assert found.experiments[0].label == "cifar10-nets.mine.make"
    assert parse(found.model_dump(), "config.json") == found


def test_a_config_without_such_models_is_written_as_before():
    found = config(original=None, training=RECIPE, arch="resnet18")
    assert {"original", "unlearned"}.isdisjoint(found.model_dump()["experiments"][0])


ORIGINAL = {"weights": "mine.pth", "arch": "resnet18"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"original": None, "arch": "resnet18"},
            "experiments.0.training: this required key",
        ),
        ({"original": ORIGINAL | {"mean": [0.5]}}, "original: mean and std: give both"),
        ({"original": ORIGINAL | {"weights": "mine.bin"}}, "ends in none of .safetensors, .pth"),
        ({"original": ORIGINAL | {"weights": "{seed}.pth"}}, r"\{seed\} is no place here"),
        ({"original": ORIGINAL | {"wieghts": "a.pth"}}, "wieghts: unknown key; did you mean 'wei"),
        ({"original": ORIGINAL | {"arch": {"factory": "a:b"}}}, "head: this required key"),
        ({"original": ORIGINAL, "arch": "resnet34"}, "original.arch: the experiment has another"),
        ({"train_seeds": [0, 1]}, "original.weights: one file is one model"),
        ({"attacks": {"shadows": 4}}, "attacks: shadow models are trained as `training` says"),
        ({"methods": ["original_erm", "erm_ktp"]}, "methods: original_erm is trained as"),
        ({"evaluation": "validation"}, "original: it may have seen the held-out images"),
        ({"unlearned": {"scrub": {"weights": "a.pth"}}}, "scrub is a method of this repository"),
        ({"unlearned": {"theirs": {"weights": "{method}.pth"}}}, r"\{method\} is no place here"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(changes, words):
    with pytest.raises(ConfigError, match=words) as refused:
        config(**changes)
    if changes.get("original"):
        assert "training" not in str(refused.value)


def test_files_that_are_not_there_are_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiments = config().experiments
    with pytest.raises(ConfigError, match=r"original.weights: mine.pth is not there"):
        checks.check_files(experiments, "mine.yaml")
    (tmp_path / "mine.pth").touch()
    checks.check_files(experiments, "mine.yaml")
    odd = config(original=ORIGINAL | {"arch": {"factory": "nowhere_at_all:make", "head": "fc"}})
    with pytest.raises(ConfigError, match="there is no module nowhere_at_all"):
        checks.check_files(odd.experiments, "mine.yaml")


def test_a_factory_is_found_in_packages_without_importing_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    for name in ("__init__", "mine"):
        (tmp_path / "nets" / f"{name}.py").write_text("raise SystemExit\n")
    assert factory_file("nets.mine:make@fc") == tmp_path / "nets/mine.py"
    with pytest.raises(ValueError, match=r"no module nets\.other"):
        factory_file("nets.other:make@fc")


def test_the_identity_is_the_content_and_not_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = []
    for name, content in (("a.pth", b"1"), ("b.pth", b"1"), ("c.pth", b"2")):
        (tmp_path / name).write_bytes(content)
        (experiment,) = config(original=ORIGINAL | {"weights": name}).experiments
        settings.append(identity.original(experiment, 0))
    assert settings[0] == settings[1] != settings[2]
    assert settings[0]["weights_sha256"] == sha256_file("a.pth")


def test_oracles_of_a_given_original_are_those_of_a_trained_one():
    given, trained = (
        config(training=RECIPE, original=one, arch="resnet18").experiments[0]
        for one in (ORIGINAL, None)
    )
    place = (0, "class_removal", "class-0")
    assert identity.oracle(given, *place) == identity.oracle(trained, *place)
    cells = [{(c.method, c.unlearn_seed) for c in grid.cells_of(e)} for e in (given, trained)]
    assert cells[0] == cells[1]


# --- the page, word by word ---


def block(kind, title):
    (text,) = [text for k, text in BLOCKS if k == kind and text.startswith(f"# {title}\n")]
    return text


TRAIN = """
import torch
from pathlib import Path
from safetensors.torch import load_file, save_file
from my_net import MyNet

def fit(net, images, labels, steps):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        batch = torch.randint(len(images), (64,))
        loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

torch.manual_seed(0)
torch.set_num_threads(1)
packed = load_file("data/fashion_mnist_mini.safetensors")
images, labels = (packed["train_images"].float() / 255 - 0.5) / 0.5, packed["train_labels"]
net = MyNet(num_classes=10)
fit(net, images, labels, 120)
Path("mine").mkdir()
torch.save({"state_dict": net.state_dict(), "epoch": 1}, "mine/original.pth")
fit(net, images[labels != 0], labels[labels != 0], 40)
Path("theirs/class_removal/class-0").mkdir(parents=True)
save_file(net.state_dict(), "theirs/class_removal/class-0/0.safetensors")
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A project in which the page was followed: its files, its config, its first command."""
    space = Workspace.create(tmp_path_factory.mktemp("own"))
    status, text = space.snakemake("data/fashion_mnist_mini.safetensors")
    assert status == 0, text
    (space.root / "my_net.py").write_text(block("python", "my_net.py"), encoding="utf-8")
    (space.root / "mine.yaml").write_text(block("yaml", "mine.yaml"), encoding="utf-8")
    (space.root / "train.py").write_text(TRAIN, encoding="utf-8")
    status, text = space.process(sys.executable, "train.py")
    assert status == 0, text
    status, text = space.command(*command(0))
    assert status == 0, text
    return space


def command(number):
    lines = [text.strip() for kind, text in BLOCKS if kind == "console"]
    return lines[number].removeprefix("$ ").split()


def tables(space):
    runs = pd.read_csv(space.root / "results/mine/runs.csv", dtype=str, keep_default_na=False)
    text = (space.root / "results/mine/tables/class_removal.md").read_text(encoding="utf-8")
    return runs.set_index("method"), text


FOLDER = "results/mine/fashion_mnist_mini-my_net.MyNet"


def test_an_original_of_ones_own_is_measured_without_training(followed):
    runs, text = tables(followed)
    assert list(runs.index) == ["original", "duck"] and set(runs["status"]) == {"ok"}
    assert set(runs["probe_accuracy"]) != {""} and set(runs["js_forget"]) == {""}
    assert "There is no oracle" in text and "original: made elsewhere" in text
    record = read_record(followed.root / f"{FOLDER}/originals/train-0/record.json")
    assert record["inputs"]["weights"] == sha256_file(followed.root / "mine/original.pth")
    assert record["settings"]["normalisation"] == {"mean": [0.5], "std": [0.5]}
    log = followed.root / "results/mine/logs/take/originals/fashion_mnist_mini-my_net.MyNet"
    first = (log / "train-0.log").read_text().splitlines()[0]
    assert re.match(r"mine/original.pth: \d+\.\d% of the 1000 test images are recognised", first)
    assert record["test_accuracy"] == pytest.approx(float(runs.loc["original", "test_accuracy"]))
    assert not (followed.root / "results/mine/paper.pdf").exists()
    assert (followed.root / "results/mine/report.html").exists()


def test_its_logits_are_those_of_the_network_itself(followed):
    sys.path.insert(0, str(followed.root))
    try:
        from my_net import MyNet
    finally:
        sys.path.remove(str(followed.root))
    network = MyNet(num_classes=10).eval()
    saved = torch.load(followed.root / "mine/original.pth", weights_only=True)
    network.load_state_dict(saved["state_dict"])
    packed = load_tensors(followed.root / "data/fashion_mnist_mini.safetensors")
    images = (packed["test_images"].float() / 255 - 0.5) / 0.5
    stored = followed.root / f"{FOLDER}/originals/train-0/evaluated/outputs.safetensors"
    with torch.no_grad():
        logits = network(images)
    assert torch.allclose(load_tensors(stored)["test_logits"], logits, atol=1e-4)


@pytest.fixture(scope="module")
def beside(followed):
    """The same after the page's second part, and what was planned before its command."""
    added = block("yaml", "added to mine.yaml").partition("\n")[2]
    text = block("yaml", "mine.yaml") + added
    (followed.root / "mine.yaml").write_text(text, encoding="utf-8")
    counts = followed.planned(config="mine.yaml")
    status, text = followed.command(*command(1))
    assert status == 0, text
    return followed, counts


def test_a_model_that_was_unlearned_elsewhere_stands_beside_duck(beside):
    space, counts = beside
    assert (counts["take_unlearned"], counts["unlearn"]) == (1, 1)
    assert {"take_original", "evaluate", "train_original", "paper"}.isdisjoint(counts)
    runs, text = tables(space)
    theirs = runs.loc["theirs"]
    assert theirs["status"] == "ok" and float(theirs["forget_test_accuracy"]) < 0.2
    assert theirs["unlearning_seconds"] == theirs["touches"] == theirs["official_seconds"] == ""
    row = next(line for line in text.splitlines() if line.startswith("| theirs"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[2:4] == ["–", "given"] and cells[-3] == "–"
    assert space.planned(config="mine.yaml") == {}


def test_an_absent_file_is_a_missing_cell_and_a_replaced_one_a_new_model(beside):
    space, _ = beside
    file = space.root / "theirs/class_removal/class-0/0.safetensors"
    kept = file.read_bytes()
    save_tensors(file, {name: tensor + 1e-3 for name, tensor in load_tensors(file).items()})
    counts = space.planned(config="mine.yaml")
    assert counts.get("take_unlearned") == counts.get("unlearn") == 1
    file.unlink()
    text = (space.root / "mine.yaml").read_text(encoding="utf-8")
    absent = text.replace("run: mine", "run: absent")
    (space.root / "absent.yaml").write_text(absent, encoding="utf-8")
    status, text = space.snakemake("results/absent/runs.csv", config="absent.yaml")
    file.write_bytes(kept)
    assert status == 0, text
    runs = pd.read_csv(space.root / "results/absent/runs.csv", dtype=str).set_index("method")
    assert runs.loc["theirs", "status"] == "missing"
    reason = "theirs/class_removal/class-0/0.safetensors is not there"
    assert runs.loc["theirs", "reason"] == reason


def take(space, **changes):
    """Run the verb `take` on the original with other settings; status and output."""
    record = read_record(space.root / f"{FOLDER}/originals/train-0/record.json")
    settings = copy.deepcopy(record["settings"]) | changes.pop("settings", {})
    weights = changes.pop("weights", "mine/original.pth")
    settings["weights_sha256"] = sha256_file(space.root / weights)
    words = ["--weights", weights, "--data", "data/fashion_mnist_mini.safetensors"]
    words += ["--settings", canonical_json(settings)]
    words += ["--model", "elsewhere/model.safetensors", "--record", "elsewhere/record.json"]
    return space.command("python", "-m", "unlearning", "take", *words)


def test_a_wrong_order_of_classes_or_another_network_stops_in_a_line(followed):
    names = read_json(followed.root / "data/fashion_mnist_mini.json")["class_names"]
    status, text = take(followed, settings={"class_names": names})
    assert status == 0, text
    status, text = take(followed, settings={"class_names": names[1:] + names[:1]})
    assert status == 1
    assert re.search(
        r"^error: mine/original.pth: .* check mean and std, the order of cl", text, re.M
    )
    torch.save({"w": torch.zeros(2)}, followed.root / "mine/other.pth")
    status, text = take(followed, weights="mine/other.pth")
    assert status == 1
    assert "error: mine/other.pth: does not fit my_net:MyNet@fc: no " in text


def test_another_run_takes_such_models_as_it_takes_ours(beside):
    space, _ = beside
    text = (space.root / "mine.yaml").read_text(encoding="utf-8")
    again = text.replace("run: mine", "run: again\nmodels: results/mine")
    (space.root / "again.yaml").write_text(again, encoding="utf-8")
    counts = space.planned("results/again/runs.csv", config="again.yaml")
    assert (counts["adopt_model"], counts["adopt_outputs"], counts["adopt_cell"]) == (2, 1, 3)
    assert {"take_original", "take_unlearned", "unlearn"}.isdisjoint(counts)
    file = space.root / "mine/original.pth"
    kept = file.read_bytes()
    saved = torch.load(file, weights_only=True)
    saved["state_dict"]["fc.bias"] += 1e-3
    torch.save(saved, file)
    counts = space.planned("results/again/runs.csv", config="again.yaml")
    assert counts["take_original"] == counts["evaluate"] == 1
    assert (counts["adopt_model"], counts["adopt_cell"], counts["unlearn"]) == (1, 1, 2)
    file.write_bytes(kept)
