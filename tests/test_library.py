"""The methods as functions: the same weights as the workflow's, and a caller left undisturbed."""

from __future__ import annotations

import copy
import inspect
import random
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import METHOD_FILES
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from workspace import PROJECT

import unlearning
from unlearning import methods
from unlearning.config import hyperparameters
from unlearning.data import samples
from unlearning.data.batches import load_dataset
from unlearning.data.splits import retained
from unlearning.files import load_tensors, read_json
from unlearning.metrics import membership
from unlearning.records.record import read_record
from unlearning.records.stored import load_model
from unlearning.runtime.vision import torchvision
from unlearning.seeds import seed_for

PAGE = (PROJECT / "docs/library.md").read_text(encoding="utf-8")
LINES = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
KEYS = ("dataset", "arch", "scenario", "split", "train_seed", "method", "unlearn_seed")
DUCK = {
    **{"lambda_forget": 1.0, "lambda_retain": 1.4, "temperature": 2.0, "batch_ratio": 2},
    **{"batch_size": 8, "lr": 0.001, "weight_decay": 0.0, "epochs": 2, "milestones": []},
    **{"label_smoothing": 0.0, "stop": "never", "forget_target": 0.01},
}
DEFINED = [
    (method, scenario)
    for method in unlearning.METHODS
    for scenario in ("class_removal", "homogeneous_removal")
    if hyperparameters.defined(method, scenario, METHOD_FILES)
]


class Small(nn.Module):
    """An ordinary network with BatchNorm and dropout, split nowhere."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(4, 3)

    def forward(self, images):
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.fc(self.dropout(features))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(30) % 3
    return TensorDataset(torch.randn(30, 3, 8, 8, generator=generator), labels)


@pytest.fixture
def parts(images):
    """The images of class 1, and the others."""
    labels = images.tensors[1]
    return tuple(
        Subset(images, at.nonzero().flatten().tolist()) for at in (labels == 1, labels != 1)
    )


def run(network, parts, method="duck", **options):
    given = {"head": "fc", "settings": DUCK, "forget_classes": [1]}
    return getattr(unlearning, method)(network, *parts, **{**given, **options})


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# --- the same weights by both ways ---


@pytest.mark.parametrize(("method", "scenario"), DEFINED)
def test_it_gives_the_bits_of_the_workflow(method, scenario, tiny_run):
    (cell,) = [c for c in tiny_run.cells if (c.method, c.scenario) == (method, scenario)]
    folder = tiny_run.root / cell.folder
    record = read_record(folder / "record.json")
    assert record["status"] == "ok"
    settings, data = record["settings"], load_dataset(tiny_run.data)
    start = tiny_run.model_folder(ending=tiny_run.ending(method)) / "model.safetensors"
    split = read_json(record["paths"]["split"])
    positions = torch.tensor(split["forget"]), retained(split["forget"], len(data.train))
    pairs = [data.train.batch(torch.as_tensor(at)) for at in positions]
    stop = settings["hyperparameters"].get("stop")
    moments = {"mean": data.train.mean.tolist(), "std": data.train.std.tolist()}
    found = getattr(unlearning, method)(
        load_model(settings, data, start),
        *pairs,
        head="head",
        settings=settings["hyperparameters"],
        forget_classes=split["classes"] or None,
        stop_reference=record["stop_reference"].get(stop),
        seed=seed_for("unlearn", *(settings[key] for key in KEYS)),
        **moments,
    )
    stored = load_tensors(folder / "model.safetensors")
    assert found.model.state_dict().keys() == stored.keys()
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    assert (found.updates, found.history) == (
        record["updates"],
        record["forget_accuracy_by_epoch"],
    )


# --- forms of the data ---


class Pairs(Dataset):
    """Items with plain integers for labels, as torchvision's data sets give them."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, position):
        image, label = self.data[position]
        return image, int(label)


def tensors(subset):
    return subset.dataset[subset.indices]


@pytest.mark.parametrize("workers", [0, 2])
def test_tensors_data_sets_and_loaders_give_the_same_model(workers, network, parts):
    loaders = [DataLoader(Pairs(p), batch_size=3, shuffle=True, num_workers=workers) for p in parts]
    found = run(network, loaders)
    assert same(found.model, run(network, map(tensors, parts)).model)
    assert not same(found.model, network)


def test_positions_of_several_parts_keep_their_order(images):
    parts = [samples.part(name, Subset(images, at)) for name, at in (("a", [4, 5]), ("b", [0, 1]))]
    found = samples.Samples(parts, torch.device("cpu")).batch(torch.tensor([3, 0, 2, 1]))
    for got, expected in zip(found, images[[1, 4, 0, 5]], strict=True):
        assert torch.equal(got, expected)


def test_a_collate_function_is_used(network, parts):
    def doubled(items):
        pairs = [torch.stack(side) for side in zip(*items, strict=True)]
        return 2 * pairs[0], pairs[1]

    loaders = [DataLoader(part, collate_fn=doubled) for part in parts]
    twice = [(2 * image, label) for image, label in map(tensors, parts)]
    assert same(run(network, loaders).model, run(network, twice).model)


def test_a_random_transform_draws_from_the_seed(network, parts):
    class Noisy(Pairs):
        def __getitem__(self, position):
            image, label = super().__getitem__(position)
            return image + random.random() + np.random.rand() + torch.rand(()), label

    found = [run(network, map(Noisy, parts), seed=seed).model for seed in (0, 0, 1)]
    assert same(*found[:2])
    assert not same(found[0], found[2])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("forget", "error", "words"),
    [
        (Stream(), TypeError, "forget: needs images that have positions.*not Stream"),
        (DataLoader(Stream()), TypeError, "forget: needs images that have positions"),
        ([1, 2], TypeError, "forget: a pair must be images .* both tensors"),
        ((torch.zeros(2, 3, 8, 8), torch.zeros(3).long()), ValueError, "2 images and 3 labels"),
        ((torch.zeros(2, 3, 8, 8), torch.zeros(2)), TypeError, "labels must be class numbers"),
        (
            (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.ones(2).long()),
            TypeError,
            "images arrive as torch.uint8",
        ),
        (TensorDataset(torch.zeros(0, 3, 8, 8), torch.zeros(0).long()), ValueError, "no images"),
        (Subset([(torch.zeros(3, 8, 8), 1, "name")], [0]), TypeError, "(image, label) pairs"),
        (
            DataLoader(
                TensorDataset(torch.zeros(4, 3, 8, 8), torch.ones(4).long()),
                sampler=torch.utils.data.SubsetRandomSampler([0, 1]),
            ),
            ValueError,
            "SubsetRandomSampler would be ignored",
        ),
    ],
)
def test_other_data_are_refused_in_a_line(forget, error, words, network, parts):
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        run(network, (forget, parts[1]))


def test_what_a_method_does_not_touch_is_not_read(network, parts):
    settings = {k: v for k, v in DUCK.items() if k in ("batch_size", "lr", "epochs", "milestones")}
    settings |= {"momentum": 0.9, "weight_decay": 0.0, "stop": "never", "forget_target": 0.01}
    found = run(network, (parts[0], None), "random_labels", settings=settings)
    assert found.updates == 4
    assert run(network, (None, parts[1]), "fine_tuning", settings=settings).updates == 6


# --- the caller is left alone ---


def test_the_model_its_modes_and_the_global_generators_stay(network, parts):
    network.train()
    network.norm.eval()
    network.conv.weight.requires_grad_(False)
    before = copy.deepcopy(network)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    found = run(network, parts).model
    assert same(network, before)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    assert type(found) is Small and found.fc.weight.shape == (3, 4)
    for one in (network, found):
        assert [m.training for m in one.modules()] == [m.training for m in before.modules()]
        trained = [weight.requires_grad for weight in one.parameters()]
        assert trained == [False, *[True] * (len(trained) - 1)]
    assert not torch.equal(found.conv.weight, network.conv.weight)


def test_predict_leaves_the_model_and_gives_logits_in_order(network, images):
    network.train()
    logits, labels = unlearning.predict(network, DataLoader(images, shuffle=True))
    assert network.training and torch.equal(labels, images.tensors[1])
    with torch.no_grad():
        assert torch.allclose(logits, network.eval()(images.tensors[0]), atol=1e-6)


# --- settings and arguments ---


def test_a_preset_is_a_cell_of_the_settings_files(network, parts):
    named = {"dataset": "cifar10", "arch": "resnet18", "scenario": "class_removal"}
    settings = hyperparameters.resolve("duck", named, {"epochs": 1}, METHOD_FILES)
    by_hand = run(network, parts, settings=settings).model
    for preset in ("cifar10-resnet18", named):
        assert same(by_hand, run(network, parts, preset=preset, settings={"epochs": 1}).model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": None}, "name its settings: preset='cifar10-resnet18' or settings="),
        ({"settings": {"epochs": 1}}, "settings of duck: .*lambda_forget: Field required"),
        ({"settings": DUCK | {"lr": -1.0}}, "settings of duck: lr: Input should be greater than 0"),
        ({"preset": "svhn-resnet18"}, "no published settings for svhn.*for: cifar10, cifar100"),
        ({"preset": "cifar10"}, "names no arch"),
        ({"preset": "cifar10-resnet18", "settings": {"leraning": 1}}, "unknown key 'leraning'"),
        ({"head": "conv"}, "head: 'conv' is no linear layer of the network; it has: fc"),
        ({"forget_classes": [2]}, "forget: 10 of its 10 images are of other classes"),
        ({"forget_classes": [1, 7]}, r"class 7 is outside 0\.\.2"),
        (
            {"forget_classes": None, "settings": DUCK | {"stop": "test"}},
            "give stop_reference, a number",
        ),
        ({"mean": [0.5] * 3}, "mean and std belong together"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(options, words, network, parts):
    with pytest.raises(ValueError, match=words) as refused:
        run(network, parts, **options)
    assert "\n" not in str(refused.value)


def test_a_layer_that_is_not_the_last_is_refused(parts):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Softmax(1))
    with pytest.raises(ValueError, match="1 is not the last layer"):
        run(network, parts, head="1")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("scar", "scar needs images of another kind: give surrogate"),
        ("boundary_shrink", "works in pixels of 0..1: give mean and std"),
        ("erm_ktp", "needs an original that was trained with its mask"),
    ],
)
def test_a_method_that_needs_more_says_what(method, words, network, parts):
    with pytest.raises(ValueError, match=words):
        run(network, parts, method, settings=None, preset="cifar10-resnet18")


def test_the_stop_reference_may_be_images(network, images):
    parts = Subset(images, range(9)), Subset(images, range(9, 30))
    options = {"forget_classes": None, "settings": DUCK | {"stop": "test", "epochs": 5}}
    logits, labels = unlearning.predict(network, images)
    level = unlearning.accuracy(logits, labels)
    by_images = run(network, parts, stop_reference=images, **options)
    assert by_images.history == run(network, parts, stop_reference=level, **options).history
    assert len(run(network, parts, stop_reference=1.0, **options).history) == 1


# --- scores and plots ---


def test_scores_take_tensors_and_arrays():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    labels = torch.tensor([0, 1, 1])
    assert unlearning.accuracy(logits, labels) == pytest.approx(2 / 3)
    expected = membership.logit_confidence(logits.numpy(), labels.numpy())
    assert np.array_equal(unlearning.logit_confidence(logits, labels), expected)
    assert unlearning.aus(torch.tensor(0.75), 0.8, torch.tensor(0.1)) == pytest.approx(0.95 / 1.1)
    assert unlearning.roc_auc(torch.tensor([2.0, 3.0]), np.array([1.0, 2.0])) == 0.875
    with pytest.raises(ValueError, match=r"expected logits \[N, K\]"):
        unlearning.accuracy(logits, labels[:2])


def test_plots_draw_what_they_are_given():
    axes = unlearning.plot_roc({"duck": (torch.tensor([3.0, 1.0]), torch.tensor([0.0, 2.0]))})
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 0.5], [1.0, 1.0]]
    axes = unlearning.plot_aus({"duck": (2.0, 0.9)})
    assert axes.lines[0].get_xydata().tolist() == [[2.0, 0.9]]
    axes = unlearning.plot_history({"duck": [0.5, 0.1]})
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.1]]


# --- names, the page, the package ---


def test_every_method_of_the_repository_is_a_function_with_its_documentation():
    files = {p.stem for p in METHOD_FILES.glob("*.yaml")}
    assert {*unlearning.METHODS} == files - {*methods.REFERENCES, *methods.ORIGINALS}
    for method in unlearning.METHODS:
        function = getattr(unlearning, method)
        assert function.__doc__.startswith(methods.load(method).__doc__)
        assert list(inspect.signature(function).parameters)[:4] == [
            *("model", "forget", "retain", "head")
        ]


def test_the_page_names_every_public_function():
    names = set(dir(unlearning)) - {*unlearning.METHODS}
    assert names == {name for name in names if re.search(rf"`?\b{name}\b", PAGE)}


def test_importing_the_package_and_its_modules_leaves_torch_alone():
    lazy = "import sys, unlearning; from unlearning import methods, config; "
    lazy += "assert not {'torch', 'snakemake'} & {*sys.modules}; "
    lazy += "unlearning.duck; assert 'torch' in sys.modules and 'snakemake' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", lazy], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


GIVEN = """
import torch
from torch.utils.data import TensorDataset
from unlearning.runtime.vision import torchvision

torch.manual_seed(0)
torch.set_num_threads(1)
model = torchvision().models.resnet18(num_classes=4)
train, test = (
    TensorDataset(torch.randn(n, 3, 32, 32), torch.arange(n) % 4) for n in (24, 16)
)
cats = [i for i in range(24) if i % 4 == 3]
others = [i for i in range(24) if i % 4 != 3]
"""


def test_the_ten_lines_run_from_an_installed_package_outside_the_checkout(tmp_path):
    """A wheel of the checkout, unpacked; torchvision's resnet18, loaders, tiny random images."""
    assert len(LINES.strip().splitlines()) == 10
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "fashion_mnist_mini")
    for part in ("src", "configs"):
        shutil.copytree(PROJECT / part, source / part, ignore=skip)
    for part in ("pyproject.toml", "setup.py", "MANIFEST.in"):
        shutil.copy(PROJECT / part, source / part)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run([sys.executable, *words, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "ten.py").write_text(GIVEN + LINES, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "ten.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 2


def test_torchvision_models_of_other_forms_are_split_by_name(parts):
    torch.manual_seed(0)
    network = torchvision().models.squeezenet1_1(num_classes=3)
    with pytest.raises(ValueError, match="is no linear layer of the network; it has: none"):
        run(network, parts, head="classifier")
    network = torchvision().models.mobilenet_v3_small(num_classes=3)
    found = run(network, parts, head="classifier.3", settings=DUCK | {"epochs": 1})
    assert found.model.classifier[3].out_features == 3 and found.updates > 0
