"""What a GPU computes is what the CPU computes; run where there is one, in float32 without TF32.

Tolerances: sums of some thousand products in another order differ by about 1e-6 of their size;
each update carries that on, so ten of them are given 1e-3.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys

import pytest
import torch

from unlearning import methods
from unlearning.models import build
from unlearning.recipe import Recipe
from unlearning.training.loop import embed, predict, train

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="compares a GPU with the CPU: torch finds no GPU here"
)
DEVICES = ("cpu", "cuda")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
CARRIED = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture(autouse=True)
def whole_float32():
    """No TF32 in convolutions; matrix products have none unless asked."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def on(data, device):
    """The same images on another device."""
    fields = dataclasses.fields(data)
    return type(data)(*(getattr(data, field.name).to(device) for field in fields))


def network(arch, device, seed=0):
    torch.manual_seed(seed)
    model = build(arch, 4, 1, **({"width": 4} if arch.startswith("small") else {}))
    return model.to(device, memory_format=torch.channels_last)


def same(found, tolerance):
    torch.testing.assert_close(found[1].cpu(), found[0], **tolerance)


@pytest.mark.parametrize("arch", ["strided_cnn", "resnet18", "resnet18_3x3"])
@pytest.mark.parametrize("function", [predict, embed])
def test_a_model_says_the_same(make_images, arch, function):
    data = make_images(size=32)
    same([function(network(arch, d), on(data, d)) for d in DEVICES], CLOSE)


@pytest.mark.parametrize("arch", ["strided_cnn", "strided_cnn_erm", "resnet18_3x3"])
def test_ten_steps_of_training_go_the_same_way(make_images, arch):
    data = make_images(count=80, size=28)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.01, weight_decay=0.0005, flip=True, crop=2)
    found = []
    for device in DEVICES:
        model, images = network(arch, device), on(data, device)
        train(model, images, torch.arange(80, device=device), recipe, 3, log=lambda line: None)
        found.append(predict(model, images))
    same(found, CARRIED)
    before = predict(network(arch, "cpu"), data)
    assert not torch.allclose(before, found[0], **CARRIED)  # they went somewhere


def test_duck_moves_the_same_way(make_images, make_problem):
    settings = methods.load("duck").Settings(
        lambda_forget=1.5,
        lambda_retain=1.5,
        temperature=2.0,
        batch_ratio=5,
        batch_size=8,
        lr=0.0005,
        weight_decay=0.0,
        epochs=2,
        milestones=[],
        label_smoothing=0.0,
        stop="never",
        forget_target=0.0,
    )
    data, start, found = make_images(size=28), network("strided_cnn", "cpu"), []
    for device in DEVICES:
        problem = make_problem(data)
        parts = {part: getattr(problem, part).to(device) for part in ("retain", "forget")}
        problem = dataclasses.replace(problem, train=on(data, device), **parts)
        model = copy.deepcopy(start).to(device)
        model = methods.load("duck").unlearn(model, problem, settings)
        found.append(predict(model, problem.train))
    same(found, CARRIED)


def test_bfloat16_stays_near_float32(make_images):
    data, found = on(make_images(size=32), "cuda"), []
    for precision in ("float32", "bfloat16"):
        model = network("resnet18_3x3", "cuda")
        model.precision = precision
        found.append(embed(model, data).cpu())
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.05)
    assert not torch.equal(*found)


@pytest.fixture
def deterministic():
    """Runs a short training in the mode, in a new process: cuBLAS reads its variable once."""
    code = """
import hashlib, torch
from unlearning.runtime.device import choose_device
from unlearning.data.batches import Images
from unlearning.models import build
from unlearning.recipe import Recipe
from unlearning.training.loop import predict, train
device = choose_device(1)
assert device == "cuda" and torch.are_deterministic_algorithms_enabled()
generator = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (512, 1, 28, 28), generator=generator, dtype=torch.uint8)
labels = torch.arange(512) % 10
half = torch.tensor([0.5])
data = Images(*(t.to(device) for t in (images, labels, half, half)))
torch.manual_seed(0)
model = build("resnet18_3x3", 10, 1).to(device, memory_format=torch.channels_last)
recipe = Recipe(epochs=2, batch_size=64, lr=0.05, flip=True, crop=2)
train(model, data, torch.arange(512, device=device), recipe, 3, log=lambda line: None)
print(hashlib.sha256(predict(model, data).cpu().numpy().tobytes()).hexdigest())
"""
    environment = {**os.environ, "UNLEARNING_DETERMINISTIC": "1", "UNLEARNING_DEVICE": "cuda"}

    def run():
        words = [sys.executable, "-c", code]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True)

    return run


def test_the_deterministic_mode_gives_the_same_bits_twice(deterministic):
    first, second = (deterministic().stdout.split()[-1] for _ in range(2))
    assert len(first) == 64 and first == second
