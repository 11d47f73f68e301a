"""Small random data, small models, and one finished tiny run that test files share."""

from __future__ import annotations

import os

# As a job has it, for what tests start as well. Two threads of BLAS mostly wait for each other on
# small matrices, at work. Before the first import of numpy, which reads it.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import dataclasses
import fcntl
import functools
import importlib
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from unlearning.config import hyperparameters
from unlearning.config.parsing import parse
from unlearning.data.batches import Images
from unlearning.data.surrogates import surrogate
from unlearning.files import canonical_json, load_tensors, save_tensors, sha256_file, write_json
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.methods.base import Problem
from unlearning.metrics import membership
from unlearning.models import ERM, build, erm
from unlearning.models.base import Classifier
from unlearning.plan import grid
from unlearning.records.record import RECORD, read_record, write_record

ROOT = Path(__file__).resolve().parents[1]
FEW = ("epochs", "repair_epochs", "noise_steps")  # settings cut short in the tests
SMALL = {"noise_copies": 2, "surrogate_images": 200}  # the same, in the tiny run
METHOD_FILES = ROOT / "configs" / "methods"


LONGEST = ("test_slurm", "test_can_fail", "test_provenance", "test_dag", "test_redrawn")
LONGEST += ("test_understanding", "test_faults_dag", "test_documents")


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one of them at the end.

    Beside the SLURM cluster those that use one core: its jobs use two.
    """
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def latin(tmp_path_factory):
    """The folder of a locale in ISO-8859-1; skips where none can be made."""
    folder = tmp_path_factory.mktemp("locales")
    words = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no locale in ISO-8859-1 can be made here: {error}")
    return folder


@pytest.fixture(params=["C", "en_US.ISO-8859-1"])
def another_locale(request):
    """The environment of a locale that is not UTF-8, in a Python that does not ignore it."""
    found = {"LC_ALL": request.param, "PYTHONUTF8": "0"}
    if request.param != "C":
        found["LOCPATH"] = str(request.getfixturevalue("latin"))
    return found


@dataclasses.dataclass(frozen=True)
class Images64(Images):
    """Normalises to float64, so that a reference by hand agrees to many digits."""

    def normalise(self, images):
        return super().normalise(images).double()


class Watched:
    """Stands in for a tensor and keeps the positions that every reading asked for."""

    def __init__(self, tensor):
        self.tensor, self.asked = tensor, []

    def __getitem__(self, index):
        self.asked.append(torch.arange(len(self.tensor))[index].tolist())
        return self.tensor[index]

    def __len__(self):
        return len(self.tensor)

    def __getattr__(self, name):
        if name not in ("device", "shape", "dtype"):
            raise AssertionError(f"the whole tensor was asked for its {name}")
        return getattr(self.tensor, name)

    @property
    def positions(self) -> set[int]:
        return {position for batch in self.asked for position in batch}


@pytest.fixture
def make_images():
    """Random images whose classes are all equally large, in random order."""

    def make(count=48, classes=4, size=12, channels=1, seed=0, double=False):
        generator = torch.Generator().manual_seed(seed)
        shape = (count, channels, size, size)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        labels = (torch.arange(count) % classes)[torch.randperm(count, generator=generator)]
        mean, std = torch.full((channels,), 0.4), torch.full((channels,), 0.3)
        return (Images64 if double else Images)(images, labels, mean, std)

    return make


@pytest.fixture
def watch():
    """The same images, with every reading of images and labels recorded."""

    def make(data):
        return dataclasses.replace(data, images=Watched(data.images), labels=Watched(data.labels))

    return make


@pytest.fixture
def make_model():
    """A network of two layers without normalisation, simple enough to write out by hand."""

    def make(classes=4, width=5, pixels=144, seed=0, double=False):
        torch.manual_seed(seed)
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.Tanh())
        model = Classifier(backbone, nn.Linear(width, classes))
        return model.double() if double else model

    return make


@pytest.fixture
def make_cnn():
    """A small network with BatchNorm, as the profiles use it."""

    def make(classes=4, width=2, seed=0, head_dropout=0.0):
        torch.manual_seed(seed)
        return build("strided_cnn", classes, 1, head_dropout=head_dropout, width=width)

    return make


@pytest.fixture
def make_problem():
    """Class removal of `forget_classes`, or homogeneous removal of the first `forget` images."""

    def make(data, forget_classes=(1,), forget=12, touches=("retain", "forget"), **options):
        labels = getattr(data.labels, "tensor", data.labels)
        if forget_classes:
            chosen = torch.isin(labels, torch.tensor(forget_classes))
        else:
            chosen = torch.arange(len(labels)) < forget
        given = {"classes": 4, "seed": 7, "reference": {"test": 0.5, "validation": 0.5}}
        plain = dataclasses.replace(
            data, images=getattr(data.images, "tensor", data.images), labels=labels
        )
        given["surrogate"] = surrogate("noise", 24, plain, 0)
        return options.pop("problem", Problem)(
            train=data,
            retain=(~chosen).nonzero().flatten(),
            forget=chosen.nonzero().flatten(),
            scenario="class_removal" if forget_classes else "homogeneous_removal",
            forget_classes=tuple(forget_classes),
            touches=frozenset(touches),
            **{**given, **options},
        )

    return make


def one_class_a_channel(mask: torch.Tensor) -> torch.Tensor:
    """A mask [classes, channels] as an entanglement-reduced one: each channel has one class."""
    classes, channels = mask.shape
    return torch.eye(classes)[torch.arange(channels) % classes].T.contiguous()


@pytest.fixture
def make_start(make_cnn):
    """The model that a method starts from: with a learned mask where its original has one."""

    def make(method, **options):
        model = make_cnn(**options)
        if hyperparameters.original_of(method, METHOD_FILES) == "original":
            return model
        model = erm.masked(model)
        model.mask.data = one_class_a_channel(model.mask)
        return model

    return make


SHADOWS = 4


class TinyRun:
    """A whole run on 40 images of four classes: `call` runs a verb and keeps its command line."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = folder / "results" / "tiny"
        self.data = self._pack()
        self.raw = {
            "run": "tiny",
            "experiments": [
                {
                    "dataset": "tiny",
                    "arch": "strided_cnn",
                    "training": {"epochs": 2, "batch_size": 16, "lr": 0.05},
                    "scenarios": {
                        "class_removal": {"forget": [1]},
                        "homogeneous_removal": {"count": 8, "split_seeds": [0]},
                    },
                    "methods": [
                        name
                        for name in hyperparameters.known_methods(METHOD_FILES)
                        if name not in REFERENCES
                    ],
                    "train_seeds": [0],
                    "attacks": {"shadows": SHADOWS},
                }
            ],
        }
        self.config = parse(self.raw, "tiny.yaml")
        self.experiment = self.config.experiments[0]
        self.cells = [
            cell
            for cell in grid.cells(self.config)
            if hyperparameters.defined(cell.method, cell.scenario, METHOD_FILES)
        ]
        self.commands: dict[tuple[str, ...], list[str]] = {}

    def _pack(self) -> Path:
        generator = torch.Generator().manual_seed(5)
        packed = self.folder / "data" / "tiny.safetensors"
        tensors = {}
        for part, count in (("train", 40), ("test", 20)):
            shape = (count, 1, 12, 12)
            images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            tensors |= {f"{part}_images": images, f"{part}_labels": torch.arange(count) % 4}
        save_tensors(packed, tensors)
        facts = {"name": "tiny", "classes": 4, "mean": [0.5], "std": [0.25]}
        write_json(packed.with_suffix(".json"), facts | {"sha256": sha256_file(packed)})
        return packed

    def call(self, verb: str, *key: str, **options) -> None:
        argv = []
        for name, value in options.items():
            argv.append(f"--{name.replace('_', '-')}")
            if name == "shadows":
                argv += map(str, value)
            else:
                text = value if isinstance(value, (str, Path)) else canonical_json(value)
                argv.append(str(text))
        importlib.import_module(f"unlearning.stages.{verb}").main(argv)
        self.commands[verb, *key] = argv

    def ending(self, method: str) -> str:
        """What the architecture of a method's original ends in."""
        return hyperparameters.original_of(method, METHOD_FILES).removeprefix("original")

    def model_settings(self, ending: str = "") -> dict:
        keys = ("dataset", "arch", "pretrained", "head_dropout", "precision", "evaluation")
        return {key: getattr(self.experiment, key) for key in keys} | {
            "arch": self.experiment.arch + ending,
            "training": self.experiment.training.model_dump(),
            "threads": 1,
            "train_seed": 0,
        }

    def _sparse_mask(self) -> None:
        """Two epochs teach no mask: give each channel to one class."""
        path = self.model_folder(ending=ERM) / "model.safetensors"
        weights = load_tensors(path)
        weights["mask"] = one_class_a_channel(weights["mask"])
        save_tensors(path, weights)
        record = path.with_name(RECORD)
        write_record(record, read_record(record), {"model": path})

    def model_folder(self, split: grid.Split | None = None, ending: str = "") -> Path:
        return self.root / (f"original{ending}" if split is None else f"oracle-{split.key}")

    def split_file(self, split: grid.Split) -> Path:
        return self.root / self.experiment.label / split.path

    def train(self, split: grid.Split | None = None, ending: str = "") -> None:
        folder, extra = self.model_folder(split, ending), {}
        settings = self.model_settings(ending)
        if split is not None:
            settings |= {"scenario": split.scenario, "split": split.key}
            extra = {"split": self.split_file(split)}
        self.call(
            "train",
            folder.name,
            data=self.data,
            settings=settings,
            model=folder / "model.safetensors",
            record=folder / "record.json",
            **extra,
        )

    def evaluated(self, ending: str = "") -> Path:
        """Where an original's logits on all images are."""
        return self.model_folder(ending=ending) / "evaluated" / "outputs.safetensors"

    def evaluate(self, ending: str = "") -> None:
        start, out = self.model_folder(ending=ending), self.evaluated(ending)
        self.call(
            "evaluate",
            start.name,
            data=self.data,
            start=start / "model.safetensors",
            start_record=start / RECORD,
            settings=self.model_settings(ending),
            outputs=out,
            record=out.with_name(RECORD),
        )

    def unlearn(self, cell: grid.Cell, split: grid.Split, **changes) -> None:
        """Run a cell; changes: of its settings."""
        ending = self.ending(cell.method)
        start = self.model_folder(split if cell.method == "oracle" else None, ending)
        identity = {"dataset": "tiny", "arch": "strided_cnn", "scenario": split.scenario}
        found = hyperparameters.resolve(cell.method, identity, {}, METHOD_FILES)
        few = {key: min(value, 2) for key, value in found.items() if key in FEW}
        few |= {key: value for key, value in SMALL.items() if key in found}
        few |= {"alpha": 1.5} if cell.method == "ssd" else {}  # below |D| / |D_f|
        settings = {key: v for key, v in self.model_settings().items() if key != "training"}
        settings |= {"scenario": split.scenario, "split": split.key, "method": cell.method}
        settings |= {"base_method": cell.method, "hyperparameters": found | few, "unlearn_seed": 0}
        settings["start_arch"] = settings["arch"] + ending
        evaluated = {"evaluated": self.evaluated(ending)} if cell.method in ORIGINALS else {}
        self.call(
            "unlearn",
            cell.method,
            split.key,
            data=self.data,
            split=self.split_file(split),
            start=start / "model.safetensors",
            start_record=start / "record.json",
            settings=settings | changes,
            **evaluated,
            **self.outputs(cell),
        )

    def outputs(self, cell: grid.Cell) -> dict[str, Path]:
        folder = self.root / cell.folder
        names = {"model": "model.safetensors", "outputs": "outputs.safetensors"}
        return {key: folder / name for key, name in (names | {"record": "record.json"}).items()}

    def shadow(self, number: int) -> None:
        settings = {k: v for k, v in self.model_settings().items() if k != "train_seed"}
        folder = self.root / f"shadow-{number}"
        self.call(
            "shadow",
            str(number),
            data=self.data,
            settings=settings | {"shadow": number},
            outputs=folder / "outputs.safetensors",
            record=folder / "record.json",
        )

    def measure(self, split: grid.Split) -> None:
        """What is found of the cells of one forget set: scores, attacks, probes, an ensemble."""
        group = [c for c in self.cells if c.split == split.key]
        compared = {
            c.name: f"{hyperparameters.original_of(c.method, METHOD_FILES)}/unlearn-0"
            for c in group
        }
        shared = {
            "folder": (self.root / group[0].folder).parents[1],
            "split": self.split_file(split),
        }
        oracle = {"oracle": "oracle/unlearn-0"}
        shadows = [self.root / f"shadow-{k}" / "outputs.safetensors" for k in range(SHADOWS)]
        options = {
            "score": {"cells": compared, **oracle},
            "attack": {"cells": list(compared), "shadows": shadows, "variance": "global"},
            "probe": {"cells": compared, "data": self.data, **oracle},
        }
        for verb, stage in (("score", "scores"), ("attack", "attacks"), ("probe", "probes")):
            out = self.root / group[0].measured(stage)
            self.call(verb, split.key, **shared, **options[verb], out=out)
        self.call(
            "ensemble",
            split.key,
            folder=shared["folder"].parent,
            split=shared["split"],
            cells={c.method: [f"train-0/{c.name}"] for c in group},
            variance="global",
            out=self.root / group[0].ensemble,
        )

    def everything(self) -> TinyRun:
        splits = {split.key: split for split in grid.splits(self.experiment)}
        self.train()
        self.train(ending=ERM)
        self._sparse_mask()
        self.evaluate()
        self.evaluate(ending=ERM)
        for split in splits.values():
            settings, out = split.settings, self.split_file(split)
            self.call("split", split.key, data=self.data, settings=settings, out=out)
            self.train(split)
        for cell in self.cells:
            self.unlearn(cell, splits[cell.split])
        for number in range(SHADOWS):
            self.shadow(number)
        for split in splits.values():
            self.measure(split)
        config = self.root / "config.json"
        self.call("resolve", config=self.config.model_dump(), out=config)
        root = self.root
        self.call("collect", config=config, root=root, methods=METHOD_FILES, out=root)
        return self


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, worker_id, _one_thread) -> TinyRun:
    """Every verb from split to collect, run once on the CPU; half of it would be the SVC.

    Of several processes of pytest the first that asks makes it, for all; tests leave it as it is.
    """
    if worker_id == "master":
        return _tiny_run(tmp_path_factory.mktemp("tiny"))
    folder = tmp_path_factory.getbasetemp().parent / "tiny"
    made = folder / "run.pickle"
    with open(folder.with_suffix(".lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_bytes(pickle.dumps(_tiny_run(folder)))
    return pickle.loads(made.read_bytes())


def _tiny_run(folder: Path) -> TinyRun:
    few = functools.partial(membership.svc_attack, repeats=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "svc_attack", few)
        patch.setenv("UNLEARNING_DEVICE", "cpu")
        return TinyRun(folder).everything()
