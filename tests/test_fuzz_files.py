"""Weights, outputs and records with any damage: the content that was written, or a DamagedFile."""

from __future__ import annotations

import json
import struct

import ledger
import numpy as np
import pytest
import torch
from fuzzing import fuzzing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_fuzz_readers import EDITS, edited

from unlearning.files import DamagedFile, load_arrays, load_tensors, save_tensors, sha256_file
from unlearning.records.record import check_made, read_record, write_record

FUZZ = fuzzing(1_000, 20_000)
TENSORS = {
    "weight": torch.arange(400, dtype=torch.float32).reshape(20, 20),
    "bias": torch.tensor([float("nan"), float("inf"), -0.0]),
    "steps": torch.tensor(7),
}


@pytest.fixture
def made(tmp_path):
    """A weights file and the record that states its hash."""
    save_tensors(tmp_path / "model.safetensors", TENSORS)
    record = {"settings": {"lr": 0.1, "name": "ü"}, "status": "ok", "seconds": 1.5, "reason": ""}
    write_record(tmp_path / "record.json", record, {"model": tmp_path / "model.safetensors"})
    return tmp_path


class Tally:
    """How many inputs a fuzz made, and whether the last of them was handled wrongly."""

    def __init__(self):
        self.times, self.wrong, self.outcomes = 0, 0, {}

    def __call__(self, outcome):
        self.times, self.wrong = self.times + 1, 1
        found = outcome()
        self.wrong = 0
        self.outcomes[found] = self.outcomes.get(found, 0) + 1


def fuzz(key, file, read, head=0):
    """Damage a file, often after its first `head` bytes alone, and count what `read` made of it."""
    tally, whole = Tally(), file.read_bytes()

    @FUZZ
    @given(edits=EDITS, sound=st.sampled_from([0, head]))
    @example(edits=[("tail", 0.0, None)], sound=0)
    def attempts(edits, sound):
        file.write_bytes(whole[:sound] + edited(whole[sound:], edits))
        tally(read)

    try:
        attempts()
    finally:
        ledger.count(key, tally.times, tally.wrong)
    return tally.outcomes


def test_damaged_weights_are_refused_or_told_by_their_hash(made):
    """Whatever is loaded has another hash than the record states, unless it is what was written."""
    file, record = made / "model.safetensors", read_record(made / "record.json")
    whole = file.read_bytes()
    head = 8 + struct.unpack("<Q", whole[:8])[0]
    outcomes = fuzz("fuzz_weights", file, lambda: outcome(file, record, whole), head)
    assert outcomes["refused"] > 100 and outcomes["told by its hash"] > 100, outcomes


def outcome(file, record, whole):
    """Load a weights file both ways, and check it as the stages do."""
    same = file.read_bytes() == whole
    try:
        check_made(file, "model", record)
        assert same
    except DamagedFile as error:
        assert not same and str(file) in str(error)
    try:
        tensors, arrays = load_tensors(file), load_arrays(file)
    except DamagedFile as error:
        assert not same and str(file) in str(error)
        return "refused"
    assert tensors.keys() == arrays.keys()
    return "as written" if same else "told by its hash"


def header(**tensors):
    """A safetensors file of one header and twelve bytes."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(12)


ENTRY = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
HEADERS = {
    "a header longer than the file": struct.pack("<Q", 2**62) + b"{}",
    "a header of the largest size": struct.pack("<Q", 2**64 - 1) + b"{}",
    "an unknown type": header(a=ENTRY | {"dtype": "F33"}),
    "a shape of 2**62": header(a=ENTRY | {"shape": [2**62]}),
    "a shape that overflows": header(a=ENTRY | {"shape": [2**32, 2**32]}),
    "offsets past the end": header(a=ENTRY | {"data_offsets": [0, 2**40]}),
    "offsets backwards": header(a=ENTRY | {"data_offsets": [12, 0]}),
    "two tensors in one place": header(a=ENTRY, b=ENTRY),
    "a negative shape": header(a=ENTRY | {"shape": [-3]}),
    "no text": struct.pack("<Q", 4) + b"\xff\xfe\xff\xfe",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("load", [load_tensors, load_arrays])
def test_a_header_that_lies_is_refused(content, load, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"model\.safetensors"):
        load(tmp_path / "model.safetensors")


def test_damaged_records_are_refused(made):
    file = made / "record.json"
    before = read_record(file)
    outcomes = fuzz("fuzz_record", file, lambda: read(file, before))
    assert outcomes["refused"] > 900, outcomes


def read(file, before):
    """Read a record: refused, or in every value what was written."""
    try:
        assert read_record(file) == before
    except DamagedFile as error:
        assert str(file) in str(error)
        return "refused"
    return "the same"


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(FUZZ, max_examples=200)
def test_any_json_in_place_of_a_record_is_refused(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(value, ensure_ascii=True), encoding="utf-8")
    with pytest.raises(DamagedFile, match=r"any\.json"):
        read_record(file)


def test_what_was_written_is_read_back_bit_for_bit(made):
    found = load_arrays(made / "model.safetensors")
    for name, tensor in TENSORS.items():
        assert found[name].tobytes() == tensor.numpy().tobytes()
        loaded = load_tensors(made / "model.safetensors")[name]
        assert np.array_equal(loaded, tensor, equal_nan=True)
    stated = read_record(made / "record.json")["outputs"]["model"]
    assert stated == sha256_file(made / "model.safetensors")
