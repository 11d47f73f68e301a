"""Any bytes at all in place of a data set: tensors as the catalogue says, or one of our errors.

In use a checksum is verified before a reader sees an archive; here the readers get damaged files
directly. Damage is done to the archive, and to what is inside before it is packed, where no
checksum of the format finds it.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import resource
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import ledger
import pytest
from fuzzing import fuzzing
from hypothesis import example, given
from hypothesis import strategies as st
from test_folders import as_images, as_order, write
from test_sources import Sample, make, tar_gz

from unlearning.data import readers
from unlearning.data.catalogue import DataError
from unlearning.data.folders import read_images
from unlearning.data.sources import _check
from unlearning.runtime import vision

TIMES = {"idx": 1000, "cifar10": 250, "cifar100": 500, "tiny_imagenet": 250, "images": 300}
NIGHTLY = {"idx": 50_000, "cifar10": 10_000, "cifar100": 30_000, "tiny_imagenet": 12_000}
NIGHTLY |= {"images": 10_000}
KEYS = {"idx": "idx", "cifar10": "cifar", "cifar100": "cifar", "tiny_imagenet": "zip"}
KEYS |= {"images": "images"}


def folder_sample() -> Sample:
    """A folder of PNG, JPEG and WebP images with a list of their order."""
    sample = make("cifar10")
    files = as_images(sample)
    for kind, suffix in (("JPEG", ".jpg"), ("WEBP", ".webp")):
        others = as_images(sample, kind, suffix)
        for name in list(others)[::3] if suffix == ".jpg" else list(others)[1::3]:
            del files[name.replace(suffix, ".png")]
            files[name] = others[name]
    files["train_order.txt.gz"] = gzip.compress(as_order(sample).encode())
    return dataclasses.replace(sample, files=files)


SAMPLES = {r: folder_sample() if r == "images" else make(r) for r in TIMES}
MEMORY = 1500  # MB more than before: the bound of what an archive may unpack to, several times

POSITION = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("flip"), POSITION, st.integers(0, 7)),
    st.tuples(st.just("set"), POSITION, st.binary(min_size=1, max_size=8)),
    st.tuples(
        st.just("number"), POSITION, st.sampled_from([0, 1, 255, 2**15, 2**31 - 1, 2**32 - 1])
    ),
    st.tuples(st.just("cut"), POSITION, st.integers(1, 600)),
    st.tuples(st.just("repeat"), POSITION, st.integers(1, 600)),
    st.tuples(st.just("head"), st.floats(0, 0.002), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("tail"), POSITION, st.none()),
)
EDITS = st.lists(EDIT, min_size=1, max_size=4)


def edited(content: bytes, edits) -> bytes:
    """`content` with bits, bytes or stretches changed; a position is a share of its length."""
    data = bytearray(content)
    for kind, position, value in edits:
        at = int(position * len(data))
        if not data:
            break
        if kind == "flip":
            data[at] ^= 1 << value
        elif kind in ("set", "head"):
            data[at : at + len(value)] = value
        elif kind == "number":
            data[at : at + 4] = value.to_bytes(4, "big" if at % 2 else "little")
        elif kind == "cut":
            del data[at : at + value]
        elif kind == "repeat":
            data[at:at] = data[at : at + value]
        else:
            del data[at:]
    return bytes(data)


def with_checksums(content: bytes) -> bytes:
    """The file; if it is a PNG, with the right checksum at the end of every whole chunk."""
    data, at = bytearray(content), 8
    while content[1:4] == b"PNG" and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def inside(reader: str, content: bytes, edits, which: int) -> bytes:
    """A file of the data set, sound as an archive, whose content was edited before packing."""
    if reader == "images" and content[:2] != b"\x1f\x8b":
        return with_checksums(edited(content, edits))
    if reader in ("idx", "images"):
        return gzip.compress(edited(gzip.decompress(content), edits), 1)
    if reader != "tiny_imagenet":
        if which % 3 == 0:  # the tar itself
            return gzip.compress(edited(gzip.decompress(content), edits), 1)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = {m.name: archive.extractfile(m).read() for m in archive}
        name = list(members)[which % len(members)]
        return tar_gz(members | {name: edited(members[name], edits)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[which % len(members)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, inner in (members | {name: edited(members[name], edits)}).items():
            archive.writestr(member, inner)
    return out.getvalue()


def handled(reader: str, folder: Path) -> str:
    """Read the files in a folder: "read", or the kind of our error. Anything else is raised."""
    info = SAMPLES[reader].info
    try:
        if reader == "images":
            content, _ = read_images(info, folder)
        else:
            content = readers.READERS[reader](info, {f.file: folder / f.file for f in info.files})
        _check(info, content)
    except DataError as error:
        assert str(folder) in str(error) or info.name in str(error), error
        return type(error).__name__
    return "read"


@pytest.mark.parametrize("reader", TIMES)
def test_any_bytes_are_read_or_refused(reader, tmp_path, monkeypatch):
    folder, scratch = tmp_path / "data", tmp_path / "scratch"
    folder.mkdir(), scratch.mkdir()
    vision.torchvision()  # what it leaves where it is imported first is not the readers'
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    sound = SAMPLES[reader].files
    write(sound, folder)
    done, outcomes = {"times": 0, "wrong": 0}, {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @fuzzing(TIMES[reader], NIGHTLY[reader])
    @given(which=st.integers(0, 35), packed=st.booleans(), edits=EDITS)
    @example(which=0, packed=True, edits=[("tail", 0.0, None)])
    def fuzz(which, packed, edits):
        name = list(sound)[which % len(sound)]
        content = (
            edited(sound[name], edits) if packed else inside(reader, sound[name], edits, which)
        )
        write({name: content}, folder)
        done["times"] += 1
        done["wrong"] += 1
        try:
            outcome = handled(reader, folder)
        finally:
            write({name: sound[name]}, folder)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        done["wrong"] -= 1

    try:
        fuzz()
    finally:
        ledger.count(f"fuzz_{KEYS[reader]}", done["times"], min(done["wrong"], 1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEMORY, f"{grown:.0f} MB"
    assert not list(scratch.iterdir())
    # Damage reached the content: some of it is read as other pixels, most of it refused.
    assert outcomes["read"] > 5 and outcomes["FormatError"] > 20, outcomes


@pytest.mark.parametrize("reader", TIMES)
def test_the_sound_sample_is_read(reader, tmp_path):
    write(SAMPLES[reader].files, tmp_path)
    assert handled(reader, tmp_path) == "read"
