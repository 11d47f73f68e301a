"""bfloat16 on CPUs: used where the hardware has it, refused or replaced where it has not."""

from __future__ import annotations

import json

import pytest
import torch

from unlearning.files import load_tensors, read_json
from unlearning.models import build
from unlearning.recipe import Recipe
from unlearning.runtime import device
from unlearning.runtime.device import Waits, has_bfloat16, usable_precision
from unlearning.stages import train as train_stage
from unlearning.training.loop import accuracy, predict, train

needs_hardware = pytest.mark.skipif(
    not has_bfloat16("cpu"), reason="this processor has no bfloat16: AVX-512 BF16, AMX or Arm's"
)
RECIPE = Recipe(
    epochs=3,
    batch_size=50,
    lr=0.05,
    weight_decay=0.001,
    weight_decay_on="matrices",
    schedule="triangle",
    flip=True,
    crop=2,
    padding="reflect",
    resolutions=[{"size": 20, "epochs": 1}, {"size": 28, "epochs": 2}],
)


@pytest.fixture
def processor(monkeypatch):
    """Pretend that the processor has bfloat16 or not, and that a run allows float32 or not."""

    def pretend(has, without="stop"):
        monkeypatch.setattr(device, "has_bfloat16", lambda _: has)
        monkeypatch.setenv("UNLEARNING_WITHOUT_BFLOAT16", without)

    return pretend


def test_what_the_hardware_has_is_used(processor):
    processor(True)
    assert usable_precision("bfloat16", "cpu") == "bfloat16"
    assert usable_precision("float32", "cpu") == "float32"


def test_without_hardware_bfloat16_is_refused_with_the_reason(processor):
    processor(False)
    assert usable_precision("float32", "cpu") == "float32"
    with pytest.raises(ValueError, match=r"no bfloat16 in hardware.*without_bfloat16: float32"):
        usable_precision("bfloat16", "cpu")


def test_where_the_run_allows_it_a_new_job_is_float32_and_a_started_one_waits(processor):
    processor(False, "float32")
    assert usable_precision("bfloat16", "cpu") == "float32"
    with pytest.raises(Waits, match="started in bfloat16"):
        usable_precision("bfloat16", "cpu", started=lambda precision: precision == "bfloat16")


def test_a_job_that_was_begun_in_float32_stays_in_it(processor):
    processor(True)
    assert usable_precision("bfloat16", "cpu", started=lambda p: p == "float32") == "float32"


@pytest.fixture
def training_of(tiny_run, tmp_path):
    """Train the run's original in bfloat16 into a folder; its record and weights."""

    def run(name):
        settings = tiny_run.model_settings() | {"precision": "bfloat16"}
        folder = tmp_path / name
        argv = ["--data", str(tiny_run.data), "--settings", json.dumps(settings)]
        argv += ["--model", str(folder / "model.safetensors")]
        train_stage.main([*argv, "--record", str(folder / "record.json")])
        return read_json(folder / "record.json"), load_tensors(folder / "model.safetensors")

    return run


def test_the_record_says_in_which_precision_a_model_was_trained(training_of, processor):
    processor(False, "float32")
    record, plain = training_of("without")
    assert record["precision"] == "float32"
    assert record["settings"]["precision"] == "bfloat16"
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        processor(True)
        record, other = training_of("with")
        assert record["precision"] == "bfloat16"
        assert not torch.equal(plain["head.weight"], other["head.weight"])


@pytest.fixture
def images(make_images):
    return make_images()


def fresh(images):
    torch.manual_seed(0)
    channels = images.images.shape[1]
    model = build("resnet18_small", 10, channels, precision="bfloat16")
    return model.to(memory_format=torch.channels_last)


@needs_hardware
@pytest.mark.parametrize("threads", [1, 2])
def test_a_resumed_training_in_bfloat16_gives_the_same_bits(images, tmp_path, threads):
    torch.set_num_threads(threads)
    try:
        everything, state = torch.arange(len(images)), tmp_path / "state.safetensors"
        whole, cut = fresh(images), fresh(images)
        train(whole, images, everything, RECIPE, 1, log=lambda _: None)

        class Killed(Exception):
            pass

        seen = []

        def die(line):
            seen.append(line)
            if len(seen) == 2:
                raise Killed

        with pytest.raises(Killed):
            train(cut, images, everything, RECIPE, 1, state, log=die)
        again = fresh(images)
        train(again, images, everything, RECIPE, 1, state, log=lambda _: None)
    finally:
        torch.set_num_threads(1)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(whole.head.weight, cut.head.weight)


@needs_hardware
def test_sums_statistics_and_logits_are_float32_and_near_those_of_float32(images):
    model = fresh(images)
    train(model, images, torch.arange(len(images)), RECIPE, 1, log=lambda _: None)
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32, torch.int64}
    rounded = predict(model, images)
    assert rounded.dtype == torch.float32
    share = accuracy(model, images)
    model.precision = "float32"
    exact = predict(model, images)
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()
    assert abs(share - accuracy(model, images)) < 0.05
