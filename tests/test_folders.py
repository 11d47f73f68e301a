"""Data sets from unpacked archives and folders of images: the archive's bytes, or a clear error."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_sources import TABLE, Sample, assert_packed, make, pixels, refuse

from unlearning.data import folders
from unlearning.data.catalogue import ChecksumError, DatasetInfo, FormatError, catalogue
from unlearning.data.readers import CIFAR
from unlearning.data.sources import fetch
from unlearning.files import load_tensors, read_json

REAL = os.environ.get("UNLEARNING_CIFAR")
needs_cifar = pytest.mark.skipif(
    not REAL,
    reason="UNLEARNING_CIFAR names no folder with cifar10/ and cifar100/ (train/CLASS/NAME.png); "
    "the data are not part of this project",
)
UNPACKED = {
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
    "tiny_imagenet": "tiny-imagenet-200",
}


# --- the same data set in the forms that people have ---


def proven(sample: Sample) -> DatasetInfo:
    """The data set with content hashes, by hashlib from the expected arrays."""
    contents = []
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        array = sample.expected[key].astype(np.uint8 if key.endswith("images") else "<i8")
        contents.append((key, f"sha256:{hashlib.sha256(array.tobytes()).hexdigest()}"))
    return dataclasses.replace(sample.info, contents=tuple(contents))


def write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def encoded(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """One image [C, H, W] as a file."""
    out = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(out, kind, **options)
    return out.getvalue()


def as_images(sample: Sample, kind: str = "PNG", suffix: str = ".png", **options) -> dict:
    """The data set as files of a folder of images, by name."""
    files = {}
    for part, names in sample.names.items():
        rows = zip(
            sample.expected[f"{part}_images"],
            sample.expected[f"{part}_labels"],
            names,
            strict=True,
        )
        for image, label, name in rows:
            path = Path(part, sample.class_names[label], name).with_suffix(suffix)
            files[path.as_posix()] = encoded(image, kind, **options)
    return files


def as_order(sample: Sample) -> str:
    """The official order of the training images, a line each."""
    lines = [""] * len(sample.train_order)
    for place, position in enumerate(sample.train_order):
        label = sample.expected["train_labels"][place]
        lines[position] = f"{sample.class_names[label]}/{sample.names['train'][place]}\n"
    return "".join(lines)


def publish_members(sample: Sample, monkeypatch) -> dict[str, str]:
    """Let the small members be the published ones; their checksums as the facts have them."""
    md5 = {Path(name).name: hashlib.md5(c).hexdigest() for name, c in sample.members.items()}
    monkeypatch.setattr(folders, "published_members", lambda _: md5)
    return {name: f"md5:{md5[Path(name).name]}" for name in sample.members}


@pytest.fixture
def mine(tmp_path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


@pytest.fixture
def images(mine) -> tuple[Sample, DatasetInfo]:
    """A small CIFAR-10 as a folder of images, which the test may damage."""
    sample = make("cifar10")
    write(as_images(sample), mine)
    return sample, proven(sample)


# --- the same bytes from each ---


@pytest.mark.parametrize("reader", ["cifar10", "cifar100"])
def test_archive_torchvisions_root_and_images_give_the_same_file(reader, tmp_path, monkeypatch):
    sample = make(reader)
    assert sample.train_order != list(range(20))  # else the order would not be tested
    info, checksums = proven(sample), publish_members(sample, monkeypatch)
    write(sample.files, tmp_path / "archive")
    write(sample.members, tmp_path / "root")
    order = as_order(sample).encode()
    write(as_images(sample) | {"train_order.txt": order}, tmp_path / "images")
    hashes = dict(info.contents) | {
        "train_order.txt": f"sha256:{hashlib.sha256(order).hexdigest()}"
    }
    sources = {
        "archive": None,
        "root": checksums,
        f"root/{UNPACKED[reader]}": checksums,
        "images": hashes,
    }
    packed = set()
    for name, files in sources.items():
        out = tmp_path / "out" / name
        fetch(info, out, folder=tmp_path / name)
        assert_packed(sample, out, files)
        packed.add((out / f"{info.name}.safetensors").read_bytes())
    assert len(packed) == 1


def test_tiny_imagenet_zip_unpacked_and_images_give_the_same_file(tmp_path):
    sample = make("tiny_imagenet")
    info, top = sample.info, "tiny-imagenet-200"
    hashes = dict(proven(sample).contents)
    write(sample.files, tmp_path / "archive")
    write(sample.members, tmp_path / "root")
    write({f"{top}/train/n01/images/._n01_0.JPEG": b"of macOS"}, tmp_path / "root")
    wnids = {"goldfish, Carassius auratus": "n01", "bee": "n02", "candle": "n03"}
    for name, content in sample.members.items():
        path = Path(name)
        if path.suffix == ".JPEG" and "train" in path.parts:
            write({f"train/{path.parts[2]}/{path.name}": content}, tmp_path / "images")
    for label, name in zip(sample.expected["test_labels"], sample.names["test"], strict=True):
        content = sample.members[f"{top}/val/images/{name}"]
        write({f"test/{wnids[sample.class_names[label]]}/{name}": content}, tmp_path / "images")
    packed = set()
    for name in ("archive", "root", f"root/{top}", "images"):
        out = tmp_path / "out" / name
        fetch(info, out, folder=tmp_path / name)
        if name == "images":  # which knows no words for the classes
            assert read_json(out / f"{info.name}.json")["train_order"] == sample.train_order
        else:
            assert_packed(sample, out, None if name == "archive" else hashes)
        packed.add((out / f"{info.name}.safetensors").read_bytes())
    assert len(packed) == 1


def test_a_lossless_copy_in_another_format_gives_the_same_file(tmp_path):
    sample = make("cifar10")
    info = proven(sample)
    order = gzip.compress(as_order(sample).encode())
    for kind, files in (
        ("png", as_images(sample)),
        ("webp", as_images(sample, "WEBP", ".webp", lossless=True, exact=True)),
    ):
        write(files | {"train_order.txt.gz": order}, tmp_path / kind)
        fetch(info, tmp_path / "out" / kind, folder=tmp_path / kind)
    packed, facts = (
        [tmp_path / "out" / kind / f"{info.name}.{end}" for kind in ("png", "webp")]
        for end in ("safetensors", "json")
    )
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert facts[0].read_bytes() == facts[1].read_bytes()


def test_jpeg_images_keep_their_names_and_follow_the_list_of_png_names(mine, tmp_path):
    sample = make("cifar10")
    write(as_images(sample, "JPEG", ".jpg"), mine)
    write({"train_order.txt": as_order(sample).replace("\n", "\r\n").encode()}, mine)
    fetch(sample.info, tmp_path / "out", folder=mine)
    packed = load_tensors(tmp_path / "out" / f"{sample.info.name}.safetensors")
    names = bytes(packed["train_names"].tolist()).decode().split("\n")
    assert names == [name.replace(".png", ".jpg") for name in sample.names["train"]]
    facts = read_json(tmp_path / "out" / f"{sample.info.name}.json")
    assert facts["train_order"] == sample.train_order
    # They are no copies of the images, so a catalogue with content hashes refuses them.
    refuse(proven(sample), tmp_path / "new", ChecksumError, "train_images is sha256:", folder=mine)


def test_grey_images_give_one_channel(mine, tmp_path):
    info = dataclasses.replace(make("cifar10").info, channels=1, train=10)
    image = pixels(1, 32, 32)
    parts = [f"{part}/class {i}/a.png" for part in ("train", "test") for i in range(10)]
    write(dict.fromkeys(parts, encoded(image)), mine)
    fetch(info, tmp_path / "out", folder=mine)
    packed = load_tensors(tmp_path / "out" / f"{info.name}.safetensors")
    assert torch.equal(packed["train_images"], torch.from_numpy(image).expand(10, 1, 32, 32))


def test_without_a_list_the_official_order_is_unknown(images, mine, tmp_path):
    _, info = images
    fetch(info, tmp_path / "out", folder=mine)
    assert "train_order" not in read_json(tmp_path / "out" / f"{info.name}.json")


def test_the_archive_comes_before_its_members_and_these_before_images(
    images, mine, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    sample, info = images
    checksums = publish_members(sample, monkeypatch)
    fetch(info, tmp_path / "1", folder=mine)
    assert f"reading the folder of images {mine}" in caplog.text
    write(sample.members, mine)
    fetch(info, tmp_path / "2", folder=mine)
    assert_packed(sample, tmp_path / "2", checksums)
    assert f"reading the unpacked archive {mine / 'cifar-10-batches-py'}" in caplog.text
    write(sample.files, mine)
    fetch(info, tmp_path / "3", folder=mine)
    assert_packed(sample, tmp_path / "3")


def test_what_systems_leave_in_folders_is_passed_over(images, mine, tmp_path):
    sample, info = images
    for folder in ("", "train", "train/class 3", "test/class 0"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints/x.png"):
            write({f"{folder}/{name}": b"left"}, mine)
        write({f"{folder}/__MACOSX/._a.png": b"left"}, mine)
    write({"README.txt": b"beside the parts anything may lie"}, mine)
    fetch(info, tmp_path / "out", folder=mine)
    packed = load_tensors(tmp_path / "out" / f"{info.name}.safetensors")
    assert np.array_equal(packed["train_images"].numpy(), sample.expected["train_images"])


# --- unpacked archives that are wrong ---


def test_torchvision_lists_a_checksum_of_each_member():
    for reader, batches in CIFAR.items():
        listed = folders.published_members(reader)
        assert set(listed) == set(batches.members)
        assert all(len(bytes.fromhex(md5)) == 16 for md5 in listed.values())


@pytest.mark.parametrize("reader", ["cifar10", "cifar100"])
def test_a_changed_or_missing_member_is_named(reader, mine, tmp_path, monkeypatch):
    sample = make(reader)
    publish_members(sample, monkeypatch)
    for name, content in sample.members.items():
        write(sample.members | {name: content[:-1] + b"?"}, mine)
        refuse(sample.info, tmp_path / "out", ChecksumError, f"{name}: expected md5", folder=mine)
        (mine / name).unlink()
        refuse(sample.info, tmp_path / "out", FormatError, f"{name}: no such file", folder=mine)


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("train/n01/images/n01_0.JPEG", b"no image", "n01_0.JPEG': not a complete PNG"),
        ("train/n01/images/n01_0.JPEG", None, "expected 12 train images, found 11"),
        ("val/images/val_3.JPEG", None, "val/images/val_3.JPEG"),
        ("val/val_annotations.txt", None, "val_annotations.txt"),
        ("words.txt", None, "words.txt"),
    ],
)
def test_an_unpacked_tiny_imagenet_that_is_wrong_is_refused(
    member, content, message, mine, tmp_path
):
    sample = make("tiny_imagenet")
    write(sample.members, mine)
    path = mine / "tiny-imagenet-200" / member
    path.unlink()
    if content:
        path.write_bytes(content)
    refuse(sample.info, tmp_path / "out", FormatError, message, folder=mine)


# --- folders of images that are wrong ---


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def removed(pattern: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for path in sorted(folder.glob(pattern), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    return remove


def both(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: [step(folder) for step in steps] and None


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / old).rename(folder / new)


def huge_png(size: int) -> bytes:
    """The header of a PNG of size x size pixels, and no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def sixteen_bits() -> bytes:
    """A sound PNG of 32 x 32 black pixels with 16 bits a channel, which Pillow cannot write."""

    def chunk(body: bytes) -> bytes:
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR" + struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0))
    data = chunk(b"IDAT" + zlib.compress(bytes(32 * (1 + 32 * 6))))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND")


def pillow(mode: str, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (32, 32)).save(out, kind, **options)
    return out.getvalue()


def animated() -> bytes:
    frames = [Image.fromarray(pixels(32, 32, 3, seed=i)) for i in range(2)]
    out = io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    return out.getvalue()


ONE = "train/class 3/z_s_000003.png"
SOUND = encoded(pixels(3, 32, 32))
WRONG = {
    "no test part": (
        both(removed("test/*/*"), removed("test/*"), removed("test")),
        "mine/test: no",
    ),
    "no train part": (renamed("train", "training"), "mine/train: no such folder"),
    "class of test only": (
        both(removed("train/class 7/*"), removed("train/class 7")),
        "mine/train: no folder of class 'class 7', test has one",
    ),
    "class of train only": (
        both(removed("test/class 7/*"), removed("test/class 7")),
        "mine/test: no folder of class 'class 7', train has one",
    ),
    "class of another name": (
        renamed("test/class 7", "test/class seven"),
        "mine/test: no folder of class 'class 7', train has one",
    ),
    "class in neither": (
        both(removed("*/class 7/*"), removed("*/class 7")),
        "mine/train: expected 10 class folders, found 9",
    ),
    "class without training image": (
        removed("train/class 7/*"),
        "mine/train/class 7: train has no image of class 'class 7'",
    ),
    "class without test image": (
        removed("test/class 7/*"),
        "mine/test/class 7: test has no image of class 'class 7'",
    ),
    "an image too few": (removed(ONE), "mine/train: expected 20 images, found 19"),
    "an image too many": (
        replaced("test/class 2/more.png", SOUND),
        "mine/test: expected 10 images, found 11",
    ),
    "stray file in a part": (
        replaced("train/notes.txt", b""),
        "mine/train/notes.txt: a stray file",
    ),
    "stray file in a class": (
        replaced("train/class 3/notes.txt", b""),
        "mine/train/class 3/notes.txt: a stray file",
    ),
    "stray folder in a class": (
        lambda folder: (folder / "train/class 3/more.png").mkdir(),
        "mine/train/class 3/more.png: a stray folder",
    ),
    "the same stem twice": (
        replaced("train/class 3/z_s_000003.JPG", SOUND),
        r"class 3/z_s_000003\.\w+: the class has z_s_000003\.\w+ already",
    ),
    "a newline in a name": (renamed(ONE, f"{ONE[:-4]}\n.png"), "rename 'z_s_000003.n.png'"),
    "another size": (
        replaced(ONE, encoded(pixels(3, 28, 32))),
        f"image '{ONE}': expected 32 x 32 pixels, found 32 x 28",
    ),
    "grey": (replaced(ONE, pillow("L")), f"image '{ONE}': expected .*RGB.*, found L$"),
    "grey of 16 bits": (replaced(ONE, pillow("I;16")), f"image '{ONE}': expected .*RGB.*, found I"),
    "with alpha": (replaced(ONE, pillow("RGBA")), f"image '{ONE}': expected .*RGB.*, found RGBA"),
    "palette": (replaced(ONE, pillow("P")), f"image '{ONE}': expected .*RGB.*, found P"),
    "palette with transparency": (
        replaced(ONE, pillow("P", transparency=0)),
        f"image '{ONE}': expected .*RGB.*, found P",
    ),
    "transparent colour": (
        replaced(ONE, pillow("RGB", transparency=(0, 0, 0))),
        f"image '{ONE}': .*transparent",
    ),
    "16 bits": (replaced(ONE, sixteen_bits()), f"image '{ONE}': expected 8 bits.*, found 16"),
    "four colours": (replaced(ONE, pillow("CMYK", "JPEG")), f"image '{ONE}': .*, found CMYK"),
    "several frames": (replaced(ONE, animated()), f"image '{ONE}': .*found 2 frames"),
    "empty file": (replaced(ONE, b""), f"image '{ONE}': not a complete PNG, JPEG or WebP image"),
    "cut file": (replaced(ONE, SOUND[:-900]), f"image '{ONE}': .*truncated"),
    "another format": (replaced(ONE, pillow("RGB", "BMP")), f"image '{ONE}': not a complete PNG"),
    "bomb": (replaced(ONE, huge_png(12_000)), f"image '{ONE}': .*144000000 pixels"),
    "huge bomb": (replaced(ONE, huge_png(60_000)), f"image '{ONE}': .*3600000000 pixels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_folder_of_images_is_refused(case, images, mine, tmp_path):
    damage, message = WRONG[case]
    damage(mine)
    with pytest.raises(FormatError) as caught:
        fetch(images[0].info, tmp_path / "out", folder=mine)
    assert len(str(caught.value).splitlines()) == 1
    refuse(images[0].info, tmp_path / "out", FormatError, message, folder=mine)


def test_a_file_that_cannot_be_opened_is_named(images, mine, tmp_path):
    (mine / ONE).unlink()
    (mine / ONE).symlink_to(mine / "nowhere.png")
    refuse(images[1], tmp_path / "out", FormatError, f"image '{ONE}': .*No such file", folder=mine)


def test_a_file_too_large_for_an_image_is_not_read(images, mine, tmp_path):
    with open(mine / ONE, "r+b") as handle:
        handle.truncate(folders.BOMB_FLOOR + 1)
    refuse(images[1], tmp_path / "out", FormatError, f"image '{ONE}': .*at most", folder=mine)


@pytest.mark.parametrize("change", ["pixel", "name", "class"])
def test_content_other_than_the_catalogues_is_refused(change, images, mine, tmp_path):
    info = images[1]
    if change == "pixel":
        image = np.asarray(Image.open(mine / ONE)).copy()
        image[5, 5, 1] ^= 1
        Image.fromarray(image).save(mine / ONE)
    elif change == "name":
        (mine / ONE).rename(mine / "train/class 3/a.png")
    else:
        for part in ("train", "test"):
            (mine / part / "class 3").rename(mine / part / "klass 3")
    message = f"mine: the content of train_images is .* not the unchanged images of {info.name}"
    refuse(info, tmp_path / "out", ChecksumError, message, folder=mine)


# --- lists of the official order that are wrong ---


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [*lines[:4], "class 3/other.png", *lines[5:]], "line 5: train has no image"),
        (lambda lines: [*lines[:4], "", *lines[4:]], "line 5: train has no image ''"),
        (lambda lines: [*lines[:4], lines[1], *lines[5:]], "line 5: .* is line 2 already"),
        (lambda lines: lines[:-1], "line 20: it ends without class"),
        (lambda lines: [*lines, lines[0]], "line 21: .* is line 1 already"),
    ],
)
@pytest.mark.parametrize("name", folders.ORDERS)
def test_a_wrong_line_of_the_order_is_named(edit, message, name, images, mine, tmp_path):
    sample, info = images
    text = "\n".join([*edit(as_order(sample).splitlines()), ""]).encode()
    (mine / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    refuse(info, tmp_path / "out", FormatError, f"mine/{name}, {message}", folder=mine)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"\xff\xfe"), gzip.compress(bytes(2**20))[:-9]],
    ids=["no gzip", "no text", "cut off"],
)
def test_a_damaged_list_is_named(content, images, mine, tmp_path):
    (mine / "train_order.txt.gz").write_bytes(content)
    refuse(images[1], tmp_path / "out", FormatError, "train_order.txt.gz: cannot be", folder=mine)


# --- the real ones ---


@needs_cifar
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_real_images_have_the_content_of_the_catalogue(name, tmp_path):
    info = catalogue(TABLE)[name]
    fetch(info, tmp_path, folder=Path(REAL) / name)
    files = read_json(tmp_path / f"{name}.json")["files"]
    assert len(info.contents) == 4
    assert {key: files[key] for key, _ in info.contents} == dict(info.contents)
