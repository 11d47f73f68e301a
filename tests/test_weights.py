"""Pretrained weights: fetched, verified, read without running code, and named in the records.

The weights are random and served from this machine.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import io
import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, TinyRun
from test_sources import Payload, Server, visible
from workspace import Workspace

from unlearning.data import download
from unlearning.data.catalogue import (
    ChecksumError,
    DataError,
    FileInfo,
    FormatError,
    WeightsInfo,
    catalogue,
    weights_catalogue,
)
from unlearning.data.download import DownloadError
from unlearning.data.weights import UnsafeWeights, check_obtainable, fetch_weights, read_weights
from unlearning.files import DamagedFile, load_tensors, read_json, save_tensors, sha256_file
from unlearning.models import PRETRAINED
from unlearning.plan import grid
from unlearning.records.record import read_record
from unlearning.results.manifest import manifest
from unlearning.runtime.job import expected
from unlearning.runtime.vision import torchvision
from unlearning.stages.fetch_weights import main as fetch_main
from unlearning.stages.trace import text
from unlearning.stages.verify import Check
from unlearning.trace.made import models
from unlearning.trace.run import Run

TABLE = ROOT / "configs" / "weights.csv"
FILE = "resnet18-00000000.pth"


def saved(value: object, **options) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def random_weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return torchvision().models.get_model("resnet18").state_dict()


@pytest.fixture(scope="module")
def given():
    """A state dict and its file."""
    found = random_weights(1)
    return found, saved(found)


def row(content: bytes, url: str = "", name: str = "resnet18") -> WeightsInfo:
    """A row of the catalogue for a file."""
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return WeightsInfo(name, "none", "a test", FileInfo(FILE, checksum, len(content), url))


@pytest.fixture
def server():
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.fixture(autouse=True)
def naps(monkeypatch):
    """Waiting between tries is noted instead of done."""
    naps = []
    monkeypatch.setattr(download.time, "sleep", naps.append)
    return naps


def served(server: Server, content: bytes, promised: bytes | None = None) -> WeightsInfo:
    """Serve `content` under the address of the row of what was promised."""
    server.content[f"/{FILE}"] = content
    return row(promised or content, f"http://127.0.0.1:{server.httpd.server_port}/{FILE}")


def refused(info, out: Path, kind: type, message: str, **options) -> None:
    """The error is of this kind and says this in one line; nothing was packed."""
    with pytest.raises(kind, match=message) as raised:
        fetch_weights(info, out, **options)
    line = expected(raised.value)
    assert line and "\n" not in line and "Traceback" not in line
    assert not list(out.rglob("*.safetensors")) and not list(out.rglob("*.json"))


# --- the catalogue ---


def test_the_rows_are_torchvisions():
    """It publishes the address, the first eight digits of the hash, and the size in MiB."""
    table = weights_catalogue(TABLE)
    assert set(table) == set(PRETRAINED.values())
    assert not set(table) & set(catalogue(ROOT / "configs/datasets.csv"))
    for name, info in table.items():
        enum = torchvision().models.get_model_weights(name).IMAGENET1K_V1
        assert info.source == f"torchvision {type(enum).__name__}.IMAGENET1K_V1"
        assert info.file.url == enum.url and info.file.file == enum.url.rpartition("/")[2]
        assert re.search(r"-([0-9a-f]{8})\.pth$", enum.url)[1] == info.file.checksum[7:15]
        assert round(info.file.bytes / 2**20, 3) == enum.meta["_file_size"]
        assert WeightsInfo.from_json(info.as_json()) == info


@pytest.mark.parametrize(
    ("column", "value"), [("checksum", "sha256:f37072fd"), ("bytes", ""), ("url", "file:///x")]
)
def test_a_malformed_row_is_named(column, value, tmp_path):
    with open(TABLE, newline="") as handle:
        first, second = list(csv.DictReader(handle))[:2]
    path = tmp_path / "weights.csv"

    def write(*rows):
        with open(path, "w", newline="") as handle:
            writer = csv.DictWriter(handle, first)
            writer.writeheader()
            writer.writerows(rows)

    write(first, second | {column: value})
    with pytest.raises(ValueError, match=rf"weights.csv, line 3, column {column}: expected"):
        weights_catalogue(path)
    write(first, first)
    with pytest.raises(ValueError, match=r"line 3, column name: resnet18 is listed twice"):
        weights_catalogue(path)


# --- fetched and packed ---


def test_weights_are_downloaded_once_verified_and_packed(server, given, tmp_path):
    state, content = given
    info = served(server, content)
    fetch_weights(info, tmp_path)
    packed = tmp_path / "weights/resnet18.safetensors"
    found = load_tensors(packed)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    facts = read_json(packed.with_suffix(".json"))
    assert facts["sha256"] == sha256_file(packed)
    assert facts["files"] == {FILE: info.file.checksum}
    before = packed.read_bytes()
    fetch_main(["--info", info.as_json(), "--out", str(tmp_path)])
    assert packed.read_bytes() == before and server.requests == [f"/{FILE}"]


def test_counters_that_the_published_files_lack_are_zero(given, tmp_path):
    """torchvision's ResNets were saved before BatchNorm counted its batches."""
    old = {k: t for k, t in given[0].items() if "num_batches_tracked" not in k}
    path = tmp_path / FILE
    path.write_bytes(saved(old, _use_new_zipfile_serialization=False))
    found = read_weights(path, "resnet18")
    assert found.keys() == given[0].keys() and len(found) > len(old)
    assert all(int(t) == 0 for k, t in found.items() if k not in old)


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_file_or_folder_that_the_config_names_is_used(as_folder, given, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / FILE).write_bytes(given[1])
    monkeypatch.setenv("DISK", str(tmp_path))
    named = "$DISK/mine" if as_folder else f"$DISK/mine/{FILE}"
    fetch_weights(row(given[1]), tmp_path / "out", named)
    assert visible(tmp_path / "out") == ["weights/resnet18.json", "weights/resnet18.safetensors"]


def test_a_broken_connection_is_tried_again(server, naps, given, tmp_path):
    info = served(server, given[1])
    server.script = ["cut"]
    fetch_weights(info, tmp_path)
    assert len(server.requests) == 2 and naps == [2.0]


# --- refused ---


def test_a_download_that_stays_broken_is_refused(server, given, tmp_path):
    info = served(server, given[1])
    server.script = ["cut"] * 9
    message = r"the connection ended after \d+ of \d+ bytes, after 3 tries.*sources: {resnet18: FI"
    refused(info, tmp_path, DownloadError, message, retries=2)
    assert visible(tmp_path) == []


def test_other_weights_from_the_address_are_refused(server, given, tmp_path):
    info = served(server, saved(random_weights(2)), promised=given[1])
    refused(info, tmp_path, ChecksumError, f"expected .*{FILE}")
    assert visible(tmp_path) == []


@pytest.mark.parametrize("damage", ["half", "random weights", "another model"])
def test_a_named_file_that_is_not_the_catalogues_is_refused(damage, server, given, tmp_path):
    content = {
        "half": given[1][: len(given[1]) // 2],
        "random weights": saved(random_weights(2)),
        "another model": saved(torchvision().models.squeezenet1_1().state_dict()),
    }[damage]
    path, out = tmp_path / FILE, tmp_path / "out"
    path.write_bytes(content)
    info = served(server, given[1])
    size = f"expected {len(given[1])} bytes, found {len(content)}"
    message = size if len(content) != len(given[1]) else "expected sha256:[0-9a-f]{64}, found sha"
    refused(info, out, ChecksumError, f"{FILE}: {message}.*file was not changed", named=path)
    assert path.read_bytes() == content and server.requests == []


def test_half_a_file_in_the_cache_is_replaced(server, given, tmp_path, caplog):
    info = served(server, given[1])
    cached = tmp_path / "downloads/weights" / FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(given[1][:1000])
    fetch_weights(info, tmp_path)
    assert "Downloading it again" in caplog.text and cached.read_bytes() == given[1]


WRONG = {
    "another model": (
        lambda: saved(torchvision().models.squeezenet1_1().state_dict()),
        r'no weights of resnet18: Missing key\(s\) in state_dict: "conv1.weight"',
    ),
    "another head": (
        lambda: saved(torchvision().models.resnet18(num_classes=10).state_dict()),
        r"no weights of resnet18: size mismatch for fc.weight: .*\[10, 512\]",
    ),
    "not finite": (
        lambda: saved({k: t * float("nan") for k, t in random_weights(3).items()}),
        r"conv1.weight is not finite",
    ),
    "wrapped": (lambda: saved({"state_dict": random_weights(3)}), "no state dict but a dict with"),
    "a tensor": (lambda: saved(torch.zeros(3)), "no state dict but a Tensor"),
    "text": (lambda: b"this is no archive" * 9, r"cannot be read as a state dict \("),
    "nothing": (lambda: b"", r"cannot be read as a state dict \(EOFError"),
    "half": (lambda: saved(random_weights(3))[:10_000], r"cannot be read as a state dict \("),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_verified_file_that_is_no_state_dict_of_the_network_is_refused(case, tmp_path):
    content, message = WRONG[case][0](), WRONG[case][1]
    path = tmp_path / FILE
    path.write_bytes(content)
    refused(row(content), tmp_path / "out", FormatError, f"{FILE}: {message}", named=path)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(new_format, given, tmp_path):
    marker, path = tmp_path / "executed", tmp_path / FILE
    content = saved(
        {**given[0], "extra": Payload(marker)}, _use_new_zipfile_serialization=new_format
    )
    path.write_bytes(content)
    torch.load(path, weights_only=False)
    marker.rmdir()  # the attack works on a reader that trusts its pickles
    message = rf"{FILE}: a pickle that asks for (posix|nt)\.mkdir"
    refused(row(content), tmp_path / "out", UnsafeWeights, message, named=path)
    assert not marker.exists()
    path.write_bytes(saved(torch.nn.Linear(2, 2)))
    with pytest.raises(UnsafeWeights, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_weights(path, "resnet18")


def test_torch_hubs_cache_is_not_read(given, tmp_path, monkeypatch):
    cache, marker = tmp_path / "hub/checkpoints", tmp_path / "executed"
    cache.mkdir(parents=True)
    (cache / FILE).write_bytes(saved({**given[0], "extra": Payload(marker)}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    refused(row(given[1]), tmp_path / "out", DownloadError, "no address to download from")
    assert not marker.exists()


# --- before the first job ---


def test_what_cannot_be_had_is_said_before_a_job_starts(server, given, tmp_path):
    info = served(server, given[1])
    check_obtainable(info, tmp_path, None, "a.yaml")  # a server answers, if only to say no
    server.httpd.shutdown()
    server.httpd.server_close()
    with pytest.raises(DataError) as raised:
        check_obtainable(info, tmp_path, None, "a.yaml")
    line = str(raised.value)
    assert "\n" not in line and line.startswith("a.yaml: pretrained: the weights of resnet18")
    for word in (info.file.url, "refused", "snakemake data", "sources: {resnet18: FILE}"):
        assert word in line
    with pytest.raises(DataError, match=r"nowhere\.pth is not a file: name .*sources: {resnet18"):
        check_obtainable(info, tmp_path, tmp_path / "nowhere.pth", "a.yaml")
    path = tmp_path / "downloads/weights" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(given[1])
    check_obtainable(info, tmp_path, None, "a.yaml")
    check_obtainable(info, tmp_path / "other", path, "a.yaml")


# --- the record, and who reads it ---


def tiny(folder: Path) -> TinyRun:
    """A run of 40 images whose originals are ResNet-18 from pretrained weights."""
    run = TinyRun(folder)
    recipe = run.experiment.training.model_copy(update={"epochs": 1, "lr": 1e-12})
    changes = {"arch": "resnet18", "pretrained": True, "training": recipe}
    run.experiment = run.experiment.model_copy(update=changes)
    return run


def train(run: TinyRun, packed: Path | None, **changes) -> dict:
    """Train the original; its record."""
    folder = run.model_folder()
    files = {"model": folder / "model.safetensors", "record": folder / "record.json"}
    weights = {"pretrained": packed} if packed else {}
    run.call("train", data=run.data, settings=run.model_settings() | changes, **files, **weights)
    return read_record(files["record"])


@pytest.fixture
def packed(given, tmp_path) -> Path:
    """Packed weights in the data folder of a tiny run."""
    (tmp_path / FILE).write_bytes(given[1])
    fetch_weights(row(given[1]), tmp_path / "data", tmp_path / FILE)
    return tmp_path / "data/weights/resnet18.safetensors"


def test_a_training_starts_from_the_weights_and_its_record_has_their_hash(given, packed, tmp_path):
    run = tiny(tmp_path)
    record = train(run, packed)
    assert record["inputs"] == {"data": sha256_file(run.data), "pretrained": sha256_file(packed)}
    made = load_tensors(run.model_folder() / "model.safetensors")
    for name in ("layer1.0.conv1.weight", "layer4.1.bn2.weight"):  # the steps are tiny
        torch.testing.assert_close(made[f"backbone.{name}"], given[0][name])
    settings = {k: v for k, v in run.model_settings().items() if k != "train_seed"}
    out = tmp_path / "shadow"
    files = {"outputs": out / "outputs.safetensors", "record": out / "record.json"}
    run.call("shadow", data=run.data, pretrained=packed, settings=settings | {"shadow": 0}, **files)
    assert read_record(files["record"])["inputs"] == record["inputs"]


def test_weights_that_changed_are_seen_by_the_training_and_by_verify(packed, tmp_path, monkeypatch):
    run = tiny(tmp_path)
    argv = ["--data", str(run.data), "--pretrained", str(packed)]
    monkeypatch.setattr("sys.argv", ["unlearning", "train", *argv])  # what the record keeps
    train(run, packed)
    assert Check(run.root, tmp_path / "data").problems == []

    tensors = load_tensors(packed)
    save_tensors(packed, tensors | {"fc.bias": tensors["fc.bias"] + 1})
    problems = Check(run.root, tmp_path / "data").problems
    assert len(problems) == 1 and problems[0].startswith(f"{packed}: its content does not match")
    with pytest.raises(DamagedFile, match=r"resnet18\.safetensors: its content does not match"):
        train(run, packed)

    content = saved(random_weights(2))  # other weights, which their own facts vouch for
    (tmp_path / FILE).write_bytes(content)
    fetch_weights(row(content), tmp_path / "data", tmp_path / FILE)
    check = Check(run.root, tmp_path / "data")
    assert len(check.problems) == 1
    assert f"made from other files: its pretrained, {packed}, changed" in check.problems[0]
    assert (run.model_folder() / "model.safetensors").resolve() in check.to_remove()


def test_settings_and_weights_have_to_fit(packed, tmp_path):
    run = tiny(tmp_path)
    with pytest.raises(ValueError, match="pretrained: true` need --pretrained"):
        train(run, None)
    with pytest.raises(ValueError, match="pretrained: true` need --pretrained"):
        train(run, packed, pretrained=False)
    with pytest.raises(ValueError, match="weights of resnet18; resnet34_3x3 needs resnet34"):
        train(run, packed, arch="resnet34_3x3")


def test_manifest_and_trace_name_the_weights_behind_a_cell(packed, tmp_path, monkeypatch):
    run = tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    split = next(s for s in grid.splits(run.experiment) if s.scenario == "class_removal")
    cell = next(c for c in run.cells if c.split == split.key and c.method == "original")
    hashed = train(run, packed)["inputs"]["pretrained"]
    run.evaluate()
    run.call("split", data=run.data, settings=split.settings, out=run.split_file(split))
    run.unlearn(cell, split)
    identity = dict.fromkeys(("dataset", "arch", "status"), "")
    (line,) = manifest([cell], [identity | dataclasses.asdict(cell)], run.root)
    assert line["pretrained_sha256"] == hashed == sha256_file(packed)

    traced = Run(run.root, run.root)
    traced.__dict__["manifest"] = importlib.import_module("pandas").DataFrame([line])
    traced.__dict__["name"] = "tiny"
    (model,) = models(traced, [line])
    assert (model["pretrained"], model["pretrained_sha256"]) == (str(packed), hashed)
    assert model["pretrained_here"] == "same"
    empty = {"values": [], "again": None, "cells": [], "wrong": [], "copies": []}
    head = {"table": "", "column": "", "value": "", "row": {}}
    assert hashed in text({**head, **empty, "models": [model]})


# --- the DAG ---


CONFIG = {
    "run": "pre",
    "experiments": [
        {
            "dataset": "fashion_mnist_mini",
            "arch": "resnet18",
            "pretrained": True,
            "training": {
                **{"epochs": 1, "batch_size": 128, "lr": 0.1, "schedule": "onecycle"},
                "resolutions": [{"epochs": 1, "size": 8}],  # a tenth of the work
            },
            "train_seeds": [0],
            "scenarios": {"class_removal": {"forget": [0]}},
            "methods": ["duck"],
        }
    ],
}
MODEL = "results/pre/fashion_mnist_mini-resnet18/originals/train-0/model.safetensors"


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    found = Workspace.create(tmp_path_factory.mktemp("weights"))
    (found.root / "pre.yaml").write_text(yaml.safe_dump(CONFIG))
    return found


def described(space: Workspace, info: WeightsInfo) -> None:
    """Make a row the only one of the workspace's catalogue."""
    with open(space.root / "configs/weights.csv", "w", newline="") as handle:
        values = {"name": info.name, "licence": info.licence, "source": info.source}
        values |= {"file": info.file.file, "checksum": info.file.checksum}
        values |= {"bytes": info.file.bytes, "url": info.file.url}
        names = ["name", "file", "checksum", "bytes", "url", "licence", "source"]
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerow(values)


def test_offline_one_line_of_advice_comes_before_the_first_job(space, given):
    described(space, row(given[1], "http://127.0.0.1:9/" + FILE))
    status, said = space.snakemake("data", config="pre.yaml")
    assert status != 0 and "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "the weights of resnet18" in line]
    assert "pre.yaml: pretrained: " in line and "sources: {resnet18: FILE}" in line
    assert not (space.root / "data").exists()  # not even the data set was packed


def test_data_fetches_a_training_records_and_other_weights_retrain(space, server, given, tmp_path):
    info = served(server, given[1])
    described(space, info)
    status, said = space.snakemake("data", MODEL, config="pre.yaml")
    assert status == 0, said
    packed = space.root / "data/weights/resnet18.safetensors"
    record = read_record((space.root / MODEL).with_name("record.json"))
    assert record["inputs"]["pretrained"] == sha256_file(packed)
    assert "--pretrained data/weights/resnet18.safetensors" in record["command"]

    elsewhere = CONFIG | {"sources": {"resnet18": str(tmp_path / FILE)}}
    (space.root / "elsewhere.yaml").write_text(yaml.safe_dump(elsewhere))
    assert space.planned("data", MODEL, config="elsewhere.yaml") == {}  # the hash names them

    described(space, served(server, saved(random_weights(2))))
    planned = space.planned(MODEL, config="pre.yaml")
    assert planned == {"fetch_weights": 1, "train_original": 1}
