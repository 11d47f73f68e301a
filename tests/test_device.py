"""The deterministic mode: what it asks of torch, that it is recorded, and that a CPU needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from unlearning.records import provenance
from unlearning.records.provenance import cpu_model, host
from unlearning.runtime.determinism import deterministic
from unlearning.runtime.device import choose_device

TRAIN = """
import hashlib, json, os, torch
from unlearning.runtime.device import choose_device
from unlearning.data.batches import Images
from unlearning.models import build
from unlearning.records.provenance import host
from unlearning.recipe import Recipe
from unlearning.training.loop import predict, train
assert choose_device(1) == "cpu"
generator = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (96, 1, 28, 28), generator=generator, dtype=torch.uint8)
half = torch.tensor([0.5])
data = Images(images, torch.arange(96) % 4, half, half)
torch.manual_seed(0)
model = build("strided_cnn", 4, 1).to(memory_format=torch.channels_last)
recipe = Recipe(epochs=2, batch_size=32, lr=0.05, flip=True, crop=2)
train(model, data, torch.arange(96), recipe, 3, log=lambda line: None)
print(json.dumps({
    "bits": hashlib.sha256(predict(model, data).numpy().tobytes()).hexdigest(),
    "on": torch.are_deterministic_algorithms_enabled(),
    "benchmark": torch.backends.cudnn.benchmark,
    "cudnn": torch.backends.cudnn.deterministic,
    "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    "recorded": host()["deterministic"],
    "tf32": host()["cudnn_tf32"],
}))
"""


def trained(mode):
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    environment |= {"UNLEARNING_DETERMINISTIC": mode, "UNLEARNING_DEVICE": "cpu"}
    words = [sys.executable, "-c", TRAIN]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_mode_changes_no_bit_on_a_cpu_and_is_set_and_recorded():
    without, within = trained("0"), trained("1")
    assert within["bits"] == without["bits"]
    switches = ("on", "cudnn", "workspace", "recorded")
    assert [within[name] for name in switches] == [True, True, ":4096:8", True]
    assert [without[name] for name in switches] == [False, False, None, False]
    assert within["benchmark"] is False
    assert within["tf32"] == without["tf32"] and isinstance(within["tf32"], bool)


def test_a_mode_that_is_no_mode_is_refused(monkeypatch):
    monkeypatch.setenv("UNLEARNING_DETERMINISTIC", "yes")
    with pytest.raises(ValueError, match="must be 1 or 0, not 'yes'"):
        deterministic()


def test_the_gpu_of_an_apple_computer_is_used_where_torch_has_it(monkeypatch):
    monkeypatch.setenv("UNLEARNING_DEVICE", "mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device(1) == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no Apple GPU"):
        choose_device(1)


def test_the_record_names_the_cpu(monkeypatch):
    assert host()["cpu"] == cpu_model()
    text = "processor : 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Some CPU @ 2 GHz\n"
    monkeypatch.setattr(provenance.Path, "read_text", lambda self, encoding: text)
    assert cpu_model() == "Some CPU @ 2 GHz"
