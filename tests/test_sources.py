"""Data sets: found or downloaded, verified, read safely, packed; or a clear error and no output.

The archives are small copies of the four published formats, served from this machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import importlib.util
import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import ClassVar

import ledger
import numpy as np
import pytest
import torch
from PIL import Image

from unlearning.data import archives, download, readers, sources
from unlearning.data.archives import UnsafeArchive
from unlearning.data.catalogue import (
    COLUMNS,
    READER_NAMES,
    ChecksumError,
    DataError,
    DatasetInfo,
    FileInfo,
    FormatError,
    catalogue,
)
from unlearning.data.download import DownloadError
from unlearning.data.sources import fetch
from unlearning.files import load_tensors, sha256_file
from unlearning.runtime import vision

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "configs" / "datasets.csv"
MINI = ROOT / "src" / "unlearning" / "data" / "fashion_mnist_mini"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_debian = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason=f"no {DEBIAN}: install the Debian package dataset-fashion-mnist"
)
CLASSES = {"idx": 10, "cifar10": 10, "cifar100": 20, "tiny_imagenet": 3}
READERS = sorted(CLASSES)
ARCHIVES = [reader for reader in READERS if reader != "idx"]


# --- small copies of the published formats ---


@dataclasses.dataclass
class Sample:
    """Files of one format as bytes, and what a correct reader makes of them.

    expected: the packed arrays, but for the names, which `names` lists by part. members: what is
    in the archive. train_order: official position of each packed training image.
    """

    info: DatasetInfo
    files: dict[str, bytes]
    expected: dict[str, np.ndarray]
    class_names: list[str]
    names: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    members: dict[str, bytes] = dataclasses.field(default_factory=dict)
    train_order: list[int] | None = None


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def describe(
    reader: str, files: dict[str, bytes], train: int, test: int, channels: int, size: int
) -> DatasetInfo:
    return DatasetInfo(
        name=f"small_{reader}",
        version="1",
        licence="none",
        reader=reader,
        classes=CLASSES[reader],
        train=train,
        test=test,
        channels=channels,
        size=size,
        mean=None,
        std=None,
        files=tuple(file_info(name, content) for name, content in files.items()),
    )


def file_info(name: str, content: bytes, url: str = "") -> FileInfo:
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return FileInfo(name, checksum, len(content), url)


def idx_sample(bad_label: int | None = None, without: int | None = None, **_) -> Sample:
    expected, files = {}, {}
    for part, prefix, n in (("train", "train", 20), ("test", "t10k", 10)):
        images, labels = pixels(n, 28, 28, seed=n), np.arange(n, dtype=np.uint8) % 10
        labels[labels == without] = 0
        if bad_label is not None:
            labels[3] = bad_label
        expected[f"{part}_images"] = images[:, None]
        expected[f"{part}_labels"] = labels
        header = struct.pack(">HBBIII", 0, 8, 3, n, 28, 28)
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(header + images.tobytes())
        header = struct.pack(">HBBI", 0, 8, 1, n)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(header + labels.tobytes())
    info = describe("idx", files, 20, 10, 1, 28)
    names = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
    return Sample(info, files, expected, names.split(","))


class Python2Pickler(pickle._Pickler):
    """Writes text and arrays as Python 2 and the NumPy of 2009 did in the CIFAR archives."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    def save_global_as_then(self, value, name=None) -> None:
        module = "numpy" if isinstance(value, type) else "numpy.core.multiarray"
        self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text
    dispatch[type] = dispatch[types.FunctionType] = save_global_as_then
    dispatch[types.BuiltinFunctionType] = save_global_as_then


def python2_pickle(value: object) -> bytes:
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def tar_gz(members: dict[str, bytes], extra: list[tuple[tarfile.TarInfo, bytes]] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member, content in extra:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def cifar_sample(
    reader: str,
    bad_label: int | None = None,
    extra=(),
    changed: dict[str, bytes] | None = None,
    without: int | None = None,
) -> Sample:
    """A small CIFAR archive; `without`: a class that no training image has."""
    ten, classes = reader == "cifar10", CLASSES[reader]
    folder, key = ("cifar-10-batches-py", "labels") if ten else ("cifar-100-python", "fine_labels")
    train = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    test = "test_batch" if ten else "test"
    class_names = [f"class {i}" for i in range(classes)]  # of 20, not in alphabetical order
    meta = ("batches.meta", "label_names") if ten else ("meta", "fine_label_names")
    batches = {}
    for i, batch in enumerate([*train, test]):
        n = 4 if ten and batch != test else classes
        data, labels = pixels(n, 3072, seed=i), [(n * i + j) % classes for j in range(n)]
        labels = [(label + (label == without)) % classes for label in labels]
        if bad_label is not None:
            labels[2] = bad_label
        names = [f"{'zyx'[j % 3]}_s_{n * i + j:06}.png" for j in range(n)]
        coarse = {} if ten else {"coarse_labels": [0] * n}
        batches[batch] = {"batch_label": batch, key: labels, "data": data, "filenames": names}
        batches[batch] |= coarse
    members = {f"{folder}/{meta[0]}": python2_pickle({meta[1]: class_names})}
    # Neither numbered nor training first, as in the published archive.
    for name in [test, *reversed(train)]:
        members[f"{folder}/{name}"] = python2_pickle(batches[name])
    members |= changed or {}
    files = {f"{reader.replace('r1', 'r-1')}-python.tar.gz": tar_gz(members, extra)}
    expected, names, order = {}, {}, {}
    for part, parts in (("train", train), ("test", [test])):
        labels = [label for n in parts for label in batches[n][key]]
        listed = [name for n in parts for name in batches[n]["filenames"]]
        rows = [
            (f"class {label}", name, i)
            for i, (label, name) in enumerate(zip(labels, listed, strict=True))
        ]
        names[part] = [name for _, name, _ in sorted(rows)]
        order[part] = [i for *_, i in sorted(rows)]
        images = np.concatenate([batches[n]["data"] for n in parts]).reshape(-1, 3, 32, 32)
        expected[f"{part}_images"] = images[order[part]]
        numbers = {name: i for i, name in enumerate(sorted(class_names))}
        expected[f"{part}_labels"] = np.array([numbers.get(name) for name, *_ in sorted(rows)])
    info = describe(reader, files, 20, classes, 3, 32)
    return Sample(info, files, expected, sorted(class_names), names, members, order["train"])


def jpeg(seed: int, grey: bool = False, size: int = 64) -> tuple[bytes, np.ndarray]:
    out = io.BytesIO()
    Image.fromarray(pixels(size, size, *([] if grey else [3]), seed=seed)).save(out, "JPEG")
    decoded = np.asarray(Image.open(out).convert("RGB"))
    return out.getvalue(), decoded.transpose(2, 0, 1)


def tiny_sample(bad_label: int | None = None, extra=(), changed=None) -> Sample:
    top, wnids = "tiny-imagenet-200", ["n03", "n01", "n02"]
    members, train, test, annotations = {}, {}, {}, []
    for w, wnid in enumerate(wnids):
        for i in (0, 1, 2, 10):
            content, image = jpeg(100 * w + i, grey=i == 1)
            members[f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG"] = content
            train[wnid, f"{wnid}_{i}.JPEG"] = image
        members[f"{top}/train/{wnid}/{wnid}_boxes.txt"] = b""
    for i in range(6):
        wnid, name = wnids[i % 3], f"val_{i}.JPEG"
        content, test[wnid, name] = jpeg(1000 + i)
        members[f"{top}/val/images/{name}"] = content
        annotations.append(f"{name}\t{'n99' if bad_label and i == 4 else wnid}\t0\t0\t9\t9\n")
    members[f"{top}/val/val_annotations.txt"] = "".join(annotations).encode()
    words = "n01\tgoldfish, Carassius auratus\nn02\tbee\nn03\tcandle\nn04\tnot a class\n"
    members[f"{top}/words.txt"] = words.encode()
    members |= changed or {}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*members.items(), *extra]:
            archive.writestr(name, content)
    order = {wnid: i for i, wnid in enumerate(sorted(wnids))}
    expected, sorted_names = {}, {}
    for part, images in (("train", train), ("test", test)):
        sorted_names[part] = [name for _, name in sorted(images)]
        expected[f"{part}_images"] = np.stack([images[key] for key in sorted(images)])
        expected[f"{part}_labels"] = np.array([order[wnid] for wnid, _ in sorted(images)])
    files = {"tiny-imagenet-200.zip": out.getvalue()}
    names = ["goldfish, Carassius auratus", "bee", "candle"]
    info = describe("tiny_imagenet", files, 12, 6, 3, 64)
    return Sample(info, files, expected, names, sorted_names, members, list(range(12)))


def make(reader: str, **options) -> Sample:
    if reader == "idx":
        return idx_sample(**options)
    if reader == "tiny_imagenet":
        return tiny_sample(**options)
    return cifar_sample(reader, **options)


# --- a server on this machine ---


class Server:
    """Serves `content` by path; `script` holds status codes to answer with first."""

    def __init__(self):
        self.content: dict[str, bytes] = {}
        self.script: list[int | str] = []
        self.requests: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                status = server.script.pop(0) if server.script else 200
                body = server.content.get(self.path, b"")
                if status in (200, "cut") and self.path not in server.content:
                    status = 404
                self.send_response(200 if status == "cut" else status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                sent = {200: len(body), "cut": len(body) // 2}.get(status, 0)
                with contextlib.suppress(ConnectionError):  # the reader may have had enough
                    self.wfile.write(body[:sent])

            def log_message(self, *_):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, info: DatasetInfo, files: dict[str, bytes]) -> DatasetInfo:
        """Serve `files`; the description that points there and keeps its checksums."""
        self.content |= {f"/{name}": content for name, content in files.items()}
        address = f"http://127.0.0.1:{self.httpd.server_port}"
        at = [dataclasses.replace(file, url=f"{address}/{file.file}") for file in info.files]
        return dataclasses.replace(info, files=tuple(at))


@pytest.fixture
def server():
    server = Server()
    yield server
    server.httpd.shutdown()
    server.httpd.server_close()


@pytest.fixture(autouse=True)
def naps(monkeypatch) -> list[float]:
    """Waiting between tries is noted instead of done."""
    naps = []
    monkeypatch.setattr(download.time, "sleep", naps.append)
    return naps


def visible(folder: Path) -> list[str]:
    """Every file below `folder`, temporary ones included."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_packed(sample: Sample, out: Path, files: dict[str, str] | None = None) -> None:
    """The outputs are those of the sample; files: checksums in the facts, if not the archive's."""
    packed = load_tensors(out / f"{sample.info.name}.safetensors")
    assert set(packed) == set(sample.expected) | {f"{part}_names" for part in sample.names}
    for part, names in sample.names.items():
        assert packed[f"{part}_names"].dtype == torch.uint8
        assert packed[f"{part}_names"].numpy().tobytes().decode().split("\n") == names
    for name, array in sample.expected.items():
        kind = torch.uint8 if name.endswith("images") else torch.int64
        assert packed[name].dtype == kind
        assert np.array_equal(packed[name].numpy(), array), name
    record = json.loads((out / f"{sample.info.name}.json").read_text())
    assert record.get("train_order") == sample.train_order
    assert record["sha256"] == sha256_file(out / f"{sample.info.name}.safetensors")
    assert record["class_names"] == sample.class_names
    official = {file.file: file.checksum for file in sample.info.files}
    assert record["files"] == (official if files is None else files)
    for key in ("name", "version", "licence", "classes", "channels", "size"):
        assert record[key] == getattr(sample.info, key)
    scaled = sample.expected["train_images"] / 255
    assert np.allclose(record["mean"], scaled.mean((0, 2, 3)), rtol=0, atol=1e-9)
    assert np.allclose(record["std"], scaled.std((0, 2, 3)), rtol=0, atol=1e-9)


def refuse(info: DatasetInfo, out: Path, error: type, match: str, **options) -> None:
    """The fetch fails with that very error and leaves neither output nor temporary file."""
    if error is UnsafeArchive:
        ledger.count("hostile_pickle" if "pickle" in match else "hostile_archive")
    with pytest.raises(error, match=match) as caught:
        fetch(info, out, **options)
    assert caught.type is error
    left = [name for name in visible(out) if not name.startswith(f"downloads/{info.name}/")]
    assert left == []
    assert not [name for name in visible(out) if name.endswith(".part")]


# --- every format: the right file, and wrong ones ---


@pytest.mark.parametrize("reader", READERS)
def test_downloads_verifies_and_packs(reader, server, tmp_path):
    sample = make(reader)
    info = server.publish(sample.info, sample.files)
    fetch(info, tmp_path)
    assert_packed(sample, tmp_path)
    assert sorted(server.requests) == sorted(f"/{name}" for name in sample.files)
    assert not [name for name in visible(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize("reader", READERS)
def test_second_fetch_reuses_the_download(reader, server, tmp_path):
    sample = make(reader)
    info = server.publish(sample.info, sample.files)
    fetch(info, tmp_path)
    before, count = (tmp_path / f"{info.name}.safetensors").read_bytes(), len(server.requests)
    (tmp_path / f"{info.name}.safetensors").unlink()
    fetch(info, tmp_path)
    assert len(server.requests) == count
    assert (tmp_path / f"{info.name}.safetensors").read_bytes() == before


@pytest.mark.parametrize("reader", READERS)
def test_users_folder_needs_no_network(reader, server, tmp_path):
    sample = make(reader)
    info = server.publish(sample.info, sample.files)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in sample.files.items():
        (mine / name).write_bytes(content)
    fetch(info, tmp_path / "out", folder=mine)
    assert_packed(sample, tmp_path / "out")
    assert server.requests == []
    assert not (tmp_path / "out" / "downloads").exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer"])
def test_wrong_download_is_refused_and_deleted(reader, damage, server, tmp_path):
    sample = make(reader)
    name, good = next(iter(sample.files.items()))
    bad = {
        "truncated": good[:-7],
        "flipped": good[:-7] + bytes([good[-7] ^ 1]) + good[-6:],
        "longer": good + b"x",
    }[damage]
    info = server.publish(sample.info, sample.files | {name: bad})
    expected = sample.info.files[0].checksum if damage == "flipped" else f"{len(good)} bytes"
    refuse(info, tmp_path, ChecksumError, rf"(?s){name}.*{expected}.*run again")
    assert name not in " ".join(visible(tmp_path))
    server.publish(sample.info, sample.files)
    fetch(info, tmp_path)
    assert_packed(sample, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_users_wrong_file_is_refused_and_kept(reader, server, tmp_path):
    sample = make(reader)
    info = server.publish(sample.info, sample.files)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in sample.files.items():
        (mine / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = visible(mine)
    refuse(info, tmp_path / "out", ChecksumError, "(?s)mine/.*file was not changed", folder=mine)
    assert visible(mine) == before
    assert server.requests == []


@pytest.mark.parametrize("reader", READERS)
def test_label_out_of_range_is_refused(reader, server, tmp_path):
    sample = make(reader, bad_label=CLASSES[reader])
    info = server.publish(sample.info, sample.files)
    message = "unknown class 'n99'" if reader == "tiny_imagenet" else rf"found \d+..{info.classes}"
    refuse(info, tmp_path, FormatError, message)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", [{"train": 7}, {"test": 3}, {"size": 16}, {"classes": 200}])
def test_contents_other_than_the_catalogues_are_refused(reader, change, server, tmp_path):
    sample = make(reader)
    info = server.publish(dataclasses.replace(sample.info, **change), sample.files)
    refuse(info, tmp_path, FormatError, "expected")


@pytest.mark.parametrize("reader", ["idx", "cifar10"])
def test_a_class_without_training_image_is_named(reader, server, tmp_path):
    sample = make(reader, without=7)
    info = server.publish(sample.info, sample.files)
    refuse(info, tmp_path, FormatError, "train has no image of class 7")


@pytest.mark.parametrize("reader", READERS)
def test_verified_rubbish_is_a_format_error(reader, server, tmp_path):
    files = dict.fromkeys(make(reader).files, b"this is no archive" * 9)
    info = server.publish(describe(reader, files, 1, 1, 1, 1), files)
    refuse(info, tmp_path, FormatError, "cannot be read")


@pytest.mark.parametrize("damage", ["text", "cut", "small"])
def test_damaged_image_is_named(damage, server, tmp_path):
    content = {"text": b"no picture", "cut": jpeg(1)[0][:900], "small": jpeg(1, size=32)[0]}
    member = "tiny-imagenet-200/train/n01/images/n01_0.JPEG"
    sample = make("tiny_imagenet", changed={member: content[damage]})
    info = server.publish(sample.info, sample.files)
    refuse(info, tmp_path, FormatError, "n01_0.JPEG")


# --- the network ---


def test_server_errors_are_tried_again_with_growing_waits(server, naps, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    server.script = [503, 503]
    fetch(info, tmp_path)
    assert_packed(sample, tmp_path)
    assert len(server.requests) == 3
    assert naps == [2.0, 4.0]


def test_cut_connection_is_tried_again(server, naps, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    server.script = ["cut"]
    fetch(info, tmp_path, backoff=0.5)
    assert_packed(sample, tmp_path)
    assert (len(server.requests), naps) == (2, [0.5])


def test_lasting_server_error_gives_up(server, naps, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    server.script = [500] * 9
    message = r"(?s)cifar-10-python.tar.gz.*500.*after 3 tries.*sha256:"
    refuse(info, tmp_path, DownloadError, message, retries=2)
    assert (len(server.requests), len(naps)) == (3, 2)


def test_missing_page_is_reported_at_once(server, naps, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, {})
    refuse(info, tmp_path, DownloadError, "(?s)404.*put cifar-10-python.tar.gz.*into a folder")
    assert (len(server.requests), naps) == (1, [])


def test_refused_connection_gives_up_with_advice(server, naps, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    server.httpd.shutdown()
    server.httpd.server_close()
    refuse(info, tmp_path, DownloadError, "(?s)refused.*after 2 tries.*into a folder", retries=1)


def test_endless_answer_is_not_stored(server, tmp_path, monkeypatch):
    sample = make("cifar10")
    (name,) = sample.files
    info = server.publish(sample.info, {name: sample.files[name] + bytes(2**22)})
    sizes, verify = [], download.verify

    def noting_verify(path, *rest):
        sizes.append(os.path.getsize(path))
        return verify(path, *rest)

    monkeypatch.setattr(download, "verify", noting_verify)
    refuse(info, tmp_path, ChecksumError, name)
    assert sizes == [info.files[0].bytes + 1]


def test_no_address_says_what_to_do(tmp_path):
    refuse(make("cifar10").info, tmp_path, DownloadError, "no address.*into a folder")


def test_damaged_cache_is_replaced_by_a_verified_download(server, tmp_path, caplog):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    fetch(info, tmp_path)
    (cached,) = (tmp_path / "downloads" / info.name).iterdir()
    good = cached.read_bytes()
    cached.write_bytes(good[:-1])
    fetch(info, tmp_path)
    assert "Downloading it again" in caplog.text
    assert cached.read_bytes() == good
    assert len(server.requests) == 2


def test_wrong_checksum_in_the_catalogue_costs_no_cached_download(server, tmp_path):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    fetch(info, tmp_path)
    (cached,) = (tmp_path / "downloads" / info.name).iterdir()
    good = cached.read_bytes()
    file = dataclasses.replace(info.files[0], checksum="sha256:" + "0" * 64)
    with pytest.raises(ChecksumError, match="0000"):
        fetch(dataclasses.replace(info, files=(file,)), tmp_path)
    assert cached.read_bytes() == good


def test_folder_that_lacks_a_file_falls_back_and_says_so(server, tmp_path, caplog):
    sample = make("cifar10")
    info = server.publish(sample.info, sample.files)
    mine = tmp_path / "mine"
    mine.mkdir()
    fetch(info, tmp_path / "out", folder=mine)
    assert "cifar-10-python.tar.gz is not in" in caplog.text
    with pytest.raises(DataError, match="is not a folder"):
        fetch(info, tmp_path / "out", folder=tmp_path / "typo")


def test_the_advice_names_the_key_of_the_config(tmp_path):
    sample = make("cifar10")
    key = re.escape("sources: {small_cifar10: FOLDER}")
    refuse(sample.info, tmp_path, DownloadError, key)
    refuse(
        sample.info,
        tmp_path,
        DataError,
        rf"\$UNSET/data is not a folder: .*{key}",
        folder="$UNSET/data",
    )


@pytest.mark.parametrize("written", ["~/data", "$DISK/data", "${DISK}/data"])
def test_home_and_variables_in_a_folder_are_expanded(written, server, tmp_path, monkeypatch):
    sample = make("cifar10")
    (tmp_path / "data").mkdir()
    for name, content in sample.files.items():
        (tmp_path / "data" / name).write_bytes(content)
    for variable in ("HOME", "DISK"):
        monkeypatch.setenv(variable, str(tmp_path))
    fetch(sample.info, tmp_path / "out", folder=written)
    assert_packed(sample, tmp_path / "out")


@pytest.mark.parametrize("place", ["", "FashionMNIST/raw", "raw"])
@pytest.mark.parametrize("gzipped", [True, False])
def test_idx_files_of_torchvisions_root_and_without_gzip(place, gzipped, tmp_path):
    sample = make("idx")
    folder = tmp_path / "mine" / place
    folder.mkdir(parents=True)
    known, checksums = [], {}
    for file in sample.info.files:
        content = sample.files[file.file]
        plain = file_info(file.file, gzip.decompress(content))
        known.append(dataclasses.replace(file, also=((plain.checksum, plain.bytes),)))
        name = file.file if gzipped else file.file.removesuffix(".gz")
        (folder / name).write_bytes(content if gzipped else gzip.decompress(content))
        checksums[file.file] = file.checksum if gzipped else plain.checksum
    info = dataclasses.replace(sample.info, files=tuple(known))
    fetch(info, tmp_path / "out", folder=tmp_path / "mine")
    assert_packed(sample, tmp_path / "out", checksums)
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    refuse(info, tmp_path / "new", ChecksumError, path.name, folder=tmp_path / "mine")


def test_system_folder_is_used_unless_it_is_another_release(server, tmp_path, monkeypatch, caplog):
    sample = make("idx")
    info = server.publish(sample.info, sample.files)
    system = tmp_path / "system"
    system.mkdir()
    for name, content in sample.files.items():
        (system / name).write_bytes(content)
    monkeypatch.setitem(sources.SYSTEM_FOLDERS, info.name, system)
    fetch(info, tmp_path / "out")
    assert server.requests == []
    (system / info.files[0].file).write_bytes(b"another release")
    fetch(info, tmp_path / "out")
    assert server.requests == [f"/{info.files[0].file}"]
    assert "Not used" in caplog.text
    assert_packed(sample, tmp_path / "out")


def test_a_known_repackaging_is_accepted_and_recorded(server, tmp_path):
    sample = make("idx")
    name = sample.info.files[1].file
    again = gzip.compress(gzip.decompress(sample.files[name]), compresslevel=0)
    info = server.publish(sample.info, sample.files | {name: again})
    refuse(info, tmp_path, ChecksumError, name)
    other = file_info(name, again)
    known = [
        dataclasses.replace(
            file, also=((other.checksum, other.bytes),) if file.file == name else ()
        )
        for file in info.files
    ]
    fetch(dataclasses.replace(info, files=tuple(known)), tmp_path)
    record = json.loads((tmp_path / f"{info.name}.json").read_text())
    assert record["files"][name] == other.checksum != info.files[1].checksum


# --- hostile archives: each has the right checksum, so only the scan can refuse it ---


def hostile(reader: str, name: str, kind: str = "file", content: bytes = b"x") -> Sample:
    """A whole archive with one more member."""
    if reader == "tiny_imagenet":
        member = zipfile.ZipInfo(name)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = {"file": 0o100644, "symlink": 0o120777}[kind] << 16
        return make(reader, extra=[(member, content)])
    member = tarfile.TarInfo(name)
    if kind != "file":
        member.type = {
            "symlink": tarfile.SYMTYPE,
            "hard link": tarfile.LNKTYPE,
            "device": tarfile.CHRTYPE,
        }[kind]
        member.linkname, content = "/etc/passwd", b""
    return make(reader, extra=[(member, content)])


HOSTILE = {
    "parent": ("a/../../evil.txt", "file", "leaves its folder"),
    "parent backslash": ("a\\..\\evil.txt", "file", "leaves its folder"),
    "absolute": ("/evil.txt", "file", "absolute"),
    "drive": ("C:/evil.txt", "file", "absolute"),
    "symlink": ("looks/harmless", "symlink", "link"),
    "hard link": ("looks/harmless", "hard link", "link"),
    "device": ("looks/harmless", "device", "device"),
}


TAR_ONLY = ("hard link", "device")


@pytest.mark.parametrize(
    ("reader", "case"),
    [(r, c) for r in ARCHIVES for c in HOSTILE if r != "tiny_imagenet" or c not in TAR_ONLY],
)
def test_hostile_member_is_refused(reader, case, server, tmp_path):
    name, kind, fault = HOSTILE[case]
    sample = hostile(reader, name, kind)
    info = server.publish(sample.info, sample.files)
    refuse(info, tmp_path, UnsafeArchive, f"(?s)member .*{name.split('/')[-1][-8:]}.*{fault}")
    assert not list(tmp_path.rglob("evil*")) and not Path("/evil.txt").exists()


@pytest.mark.parametrize("reader", ARCHIVES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_member_is_refused(reader, server, tmp_path):
    known = {
        "cifar10": "./cifar-10-batches-py/data_batch_1",
        "cifar100": "cifar-100-python/train",
        "tiny_imagenet": "tiny-imagenet-200/words.txt",
    }[reader]
    sample = hostile(reader, known)
    info = server.publish(sample.info, sample.files)
    refuse(info, tmp_path, UnsafeArchive, f"member '{known}' occurs twice")


@pytest.mark.parametrize("reader", ARCHIVES)
def test_harmless_extra_member_is_accepted(reader, server, tmp_path):
    sample = hostile(reader, "folder..name/a..b.txt")
    fetch(server.publish(sample.info, sample.files), tmp_path)
    assert_packed(sample, tmp_path)


@pytest.mark.parametrize("reader", ARCHIVES)
def test_bomb_is_refused(reader, server, tmp_path):
    sample = hostile(reader, "bomb.bin", content=bytes(archives.BOMB_FLOOR + 1))
    assert sum(map(len, sample.files.values())) < 10**6
    info = server.publish(sample.info, sample.files)
    refuse(info, tmp_path, UnsafeArchive, "member 'bomb.bin' brings the unpacked size")


def test_gzip_bomb_is_refused(server, tmp_path):
    files = make("idx").files | {
        "t10k-labels-idx1-ubyte.gz": gzip.compress(bytes(archives.BOMB_FLOOR + 1), compresslevel=1)
    }
    info = server.publish(describe("idx", files, 20, 10, 1, 28), files)
    refuse(info, tmp_path, UnsafeArchive, "t10k-labels.*unpacks to more than")


class Payload:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


TESTED = {"cifar10": "cifar-10-batches-py/test_batch", "cifar100": "cifar-100-python/test"}


@pytest.mark.parametrize("reader", TESTED)
def test_malicious_pickle_is_refused_and_not_run(reader, server, tmp_path):
    marker = tmp_path / "executed"
    attack = pickle.dumps({"data": Payload(marker)}, protocol=2)
    pickle.loads(attack)
    marker.rmdir()  # the attack works on a reader that trusts its pickles

    sample = make(reader, changed={TESTED[reader]: attack})
    info = server.publish(sample.info, sample.files)
    message = rf"member '{TESTED[reader]}' is a pickle that asks for (posix|nt|os)\.mkdir"
    refuse(info, tmp_path / "out", UnsafeArchive, message)
    assert not marker.exists()


@pytest.mark.parametrize("reader", TESTED)
@pytest.mark.parametrize(
    "put", [pickle.LONG_BINPUT + struct.pack("<I", 2**27), pickle.PUT + b"%d\n" % 2**27]
)
def test_a_pickle_that_would_fill_the_memory_is_refused(reader, put, server, tmp_path):
    """An unpickler's table of objects is as long as the largest number: here 2 GiB, at most 64."""
    sample = make(reader, changed={TESTED[reader]: pickle.EMPTY_DICT + put + pickle.STOP})
    info = server.publish(sample.info, sample.files)
    message = rf"member '{TESTED[reader]}' is a pickle that numbers its object 134217728, of"
    refuse(info, tmp_path / "out", UnsafeArchive, message)


def test_pickles_of_this_file_are_those_of_python_2():
    content = python2_pickle({"data": pixels(2, 3)})
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content
    assert b"cnumpy\nndarray\n" in content and b"cnumpy\ndtype\n" in content
    assert b"_codecs" not in content and b"_core" not in content
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(python2_pickle({"data": np.full(3, 255, np.uint8)}))


# --- the catalogue ---


def test_catalogue_lists_the_data_sets():
    table = catalogue(TABLE)
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    names = Counter(line.split(",")[0] for line in lines)
    assert {name: len(info.files) for name, info in table.items()} == names
    shapes = {n: (i.classes, i.train, i.test, i.channels, i.size) for n, i in table.items()}
    assert shapes["cifar10"] == (10, 50000, 10000, 3, 32)
    assert shapes["cifar100"] == (100, 50000, 10000, 3, 32)
    assert shapes["tiny_imagenet"] == (200, 100000, 10000, 3, 64)
    assert shapes["cifar20"] == (20, 50000, 10000, 3, 32)


def test_json_of_a_row_is_canonical_and_comes_back():
    for info in catalogue(TABLE).values():
        text = info.as_json()
        assert "\n" not in text
        assert DatasetInfo.from_json(text) == info
        assert DatasetInfo.from_json(text).as_json() == text
    for wrong in ("{", "[]", "3", text.replace('"size"', '"sise"')):
        with pytest.raises(ValueError, match="not the JSON of a data set"):
            DatasetInfo.from_json(wrong)


def test_catalogue_names_the_readers_that_there_are():
    assert tuple(readers.READERS) == READER_NAMES


MISTAKES = {
    "name": "Fashion MNIST",
    "version": "",
    "file": "../train.gz",
    "checksum": "sha256:abc",
    "bytes": "many",
    "url": "ftp://example.org/a",
    "licence": "",
    "reader": "parquet",
    "classes": "0",
    "train": "-5",
    "test": "1.5",
    "channels": "three",
    "size": "28 28",
    "mean": "0.1",
    "std": "0.1 0.2 nan",
}


@pytest.mark.parametrize("column", COLUMNS)
def test_mistake_in_a_row_names_file_line_and_column(column, tmp_path):
    lines = TABLE.read_text().splitlines()
    line = next(i for i, text in enumerate(lines) if text.startswith("cifar10,"))
    cells = lines[line].split(",")
    cells[COLUMNS.index(column)] = MISTAKES[column]
    lines[line] = ",".join(cells)
    path = tmp_path / "wrong.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        ValueError, match=rf"wrong\.csv, line {line + 1}, column {column}: expected"
    ):
        catalogue(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("name,", "title,", 1), "line 1: the columns must be name,"),
        (lambda text: text + "alone,1\n", r"line LAST: expected 15 columns"),
        (lambda text: text + text.splitlines()[1] + "\n", r"line LAST, column file: .* twice"),
        (lambda text: text.replace(",MIT,", ",BSD,", 1), r"line 3, column licence: .* contradicts"),
    ],
)
def test_malformed_table_is_refused(edit, message, tmp_path):
    path = tmp_path / "wrong.csv"
    text = edit(TABLE.read_text())
    path.write_text(text)
    last = str(len(text.splitlines()))
    with pytest.raises(ValueError, match=message.replace("LAST", last)):
        catalogue(path)


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path):
    path = tmp_path / "datasets.csv"
    path.write_text(TABLE.read_text(), encoding="utf-8-sig")
    contents = TABLE.with_name("contents.csv").read_text()
    path.with_name("contents.csv").write_text(contents, encoding="utf-8-sig")
    assert catalogue(path) == catalogue(TABLE)


def test_content_hashes_belong_to_their_data_set(tmp_path):
    parts = [f"{part}_{kind}" for part in ("train", "test") for kind in ("images", "labels")]
    table = catalogue(TABLE)
    for name, info in table.items():
        assert [key for key, _ in info.contents] == (parts if name.startswith("cifar") else [])
    stated = TABLE.with_name("contents.csv").read_text(encoding="utf-8")
    for line in stated.splitlines()[1:]:
        name, part, images, labels = line.split(",")
        found = dict(table[name].contents)
        assert (found[f"{part}_images"], found[f"{part}_labels"]) == (images, labels)
    shutil.copy(TABLE, tmp_path)
    assert catalogue(tmp_path / TABLE.name)["cifar10"].contents == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cifar10,test", "cifar10,train", "line 3: the train part is listed twice"),
        ("cifar10,test", "cifar10,val", "line 3, column part: expected train or test"),
        ("sha256:a2", "sha1:a2", "line 2, column labels: expected sha256:HEX"),
        ("part,", "half,", "line 1: the columns must be name,part,images,labels"),
    ],
)
def test_mistake_in_the_content_hashes_is_named(old, new, message, tmp_path):
    shutil.copy(TABLE, tmp_path)
    text = TABLE.with_name("contents.csv").read_text()
    (tmp_path / "contents.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"contents\.csv, {message}"):
        catalogue(tmp_path / TABLE.name)


def test_catalogue_imports_neither_torch_nor_numpy_nor_readers():
    code = (
        "import sys; from unlearning.data.catalogue import catalogue; catalogue(sys.argv[1]);"
        "heavy = {'torch', 'torchvision', 'numpy', 'PIL', 'unlearning.data.readers'};"
        "print(heavy & set(sys.modules))"
    )
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, str(TABLE)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    assert (done.stdout.strip(), done.stderr) == (b"set()", b"")


# --- the stage ---


def test_stage_says_on_stderr_what_it_did(tmp_path):
    info = catalogue(TABLE)["fashion_mnist_mini"]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "unlearning", "fetch", "--info", info.as_json()]
    command += ["--out", str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert re.fullmatch(r"worked [\d.]+ s, [\d.]+ s of CPU, \d+ MB\n", done.stdout)
    expected = [f"verified {MINI / file.file} ({file.checksum})" for file in info.files]
    expected += [f"packed 3000 + 1000 images into {tmp_path / info.name}.safetensors"]
    said = [line for line in done.stderr.splitlines() if line.startswith(info.name)]
    assert said == [f"{info.name}: {text}" for text in expected]


# --- the packaged subset and the real Fashion-MNIST ---


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> tuple[dict, dict]:
    out = tmp_path_factory.mktemp("mini")
    fetch(catalogue(TABLE)["fashion_mnist_mini"], out)
    record = json.loads((out / "fashion_mnist_mini.json").read_text())
    return load_tensors(out / "fashion_mnist_mini.safetensors"), record


def test_packaged_subset_matches_the_catalogue(mini):
    for file in catalogue(TABLE)["fashion_mnist_mini"].files:
        assert download.verify(MINI / file.file, file) == file.checksum
        assert mini[1]["files"][file.file] == file.checksum
    assert "Copyright (c) 2017 Zalando SE" in (MINI / "LICENSE").read_text()


def test_packaged_subset_is_balanced_shuffled_and_disjoint(mini):
    tensors, _ = mini
    assert tensors["train_labels"].bincount().tolist() == [300] * 10
    assert tensors["test_labels"].bincount().tolist() == [100] * 10
    for part in ("train", "test"):
        first = tensors[f"{part}_labels"][:100].bincount(minlength=10)
        assert first.min() > 0 and first.max() < 30
    train, test = (
        {image.numpy().tobytes() for image in tensors[f"{part}_images"]}
        for part in ("train", "test")
    )
    assert len(train) > 2990 and len(test) > 990
    assert not train & test


def test_packaged_subset_resembles_the_whole(mini):
    assert mini[1]["mean"] == pytest.approx([0.2860], abs=0.005)
    assert mini[1]["std"] == pytest.approx([0.3530], abs=0.005)


def load_script():
    path = ROOT / "workflow" / "scripts" / "cut_fashion_subset.py"
    spec = importlib.util.spec_from_file_location("cut_fashion_subset", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_debian
def test_cutting_again_gives_the_same_subset(tmp_path):
    load_script().cut(DEBIAN, tmp_path, TABLE)
    for file in catalogue(TABLE)["fashion_mnist_mini"].files:
        new, old = (tmp_path / file.file).read_bytes(), (MINI / file.file).read_bytes()
        assert gzip.decompress(new) == gzip.decompress(old)
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:
            assert new == old


def test_cutting_refuses_other_files(tmp_path):
    script = load_script()
    with pytest.raises(ChecksumError):
        script.cut(MINI, tmp_path, TABLE)
    with pytest.raises(DataError, match="it can be had from"):
        script.cut(tmp_path, tmp_path, TABLE)
    assert visible(tmp_path) == []


@needs_debian
def test_whole_fashion_mnist(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "download", lambda *_: pytest.fail("went to the network"))
    fetch(catalogue(TABLE)["fashion_mnist"], tmp_path)
    tensors = load_tensors(tmp_path / "fashion_mnist.safetensors")
    assert tensors["train_images"].shape == (60000, 1, 28, 28)
    assert tensors["test_images"].shape == (10000, 1, 28, 28)
    assert tensors["train_labels"][:4].tolist() == [9, 0, 0, 3]
    assert tensors["train_labels"].bincount().tolist() == [6000] * 10
    record = json.loads((tmp_path / "fashion_mnist.json").read_text())
    assert record["mean"] == pytest.approx([0.2860], abs=5e-5)
    assert record["std"] == pytest.approx([0.3530], abs=5e-5)


@needs_debian
def test_system_files_are_the_official_ones_but_for_their_gzip_header():
    """Put the name and time of the originals back: MD5 as published, SHA-256 as catalogued."""
    official = dict(vision.torchvision().datasets.FashionMNIST.resources)
    packed_at = {"train": 1504176606, "t10k": 1504176627}
    for file in catalogue(TABLE)["fashion_mnist"].files:
        content = (DEBIAN / file.file).read_bytes()
        if len(content) == file.bytes:
            pytest.skip("this system's package ships the original files")
        moment = struct.pack("<I", packed_at[file.file.split("-")[0]])
        name = file.file.removesuffix(".gz").encode() + b"\0"
        original = b"\x1f\x8b\x08\x08" + moment + b"\x00\x03" + name + content[10:]
        assert hashlib.md5(original).hexdigest() == official[file.file]
        assert f"sha256:{hashlib.sha256(original).hexdigest()}" == file.checksum
        assert len(original) == file.bytes


@needs_debian
def test_whole_fashion_mnist_without_gzip_gives_the_same_file(tmp_path):
    """The checksums of the plain files in the catalogue are those of the official content."""
    info, raw = catalogue(TABLE)["fashion_mnist"], tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in info.files:
        plain = gzip.decompress((DEBIAN / file.file).read_bytes())
        (raw / file.file.removesuffix(".gz")).write_bytes(plain)
    fetch(info, tmp_path / "plain", folder=tmp_path)
    fetch(info, tmp_path / "packed", folder=DEBIAN)
    plain, packed = (tmp_path / name / "fashion_mnist.safetensors" for name in ("plain", "packed"))
    assert sha256_file(plain) == sha256_file(packed)


# --- torchvision's import ---


def test_torchvision_imports_once_and_works():
    module = vision.torchvision()
    assert module is vision.torchvision() is sys.modules["torchvision"]
    loaded = [name.split(".")[1] for name in sys.modules if name.startswith("torchvision.")]
    assert [name for name in loaded if not hasattr(module, name)] == []  # no half-import left
    from torchvision.transforms import v2

    assert v2.functional.horizontal_flip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
    assert module.models.resnet18(num_classes=3).fc.out_features == 3


def test_torchvision_that_imports_by_itself_is_left_alone(monkeypatch):
    healthy = types.ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", healthy)
    monkeypatch.setattr(vision, "_define_missing_operators", lambda: pytest.fail("defined"))
    assert vision.torchvision() is healthy


def test_other_import_failures_are_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError):
        vision.torchvision()

    def broken(_name):
        raise RuntimeError("CUDA versions differ")

    monkeypatch.setattr(vision.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="CUDA versions differ"):
        vision.torchvision()
