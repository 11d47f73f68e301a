"""take: read a model that was made elsewhere, check that it fits, and store it as one of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scipy.stats import beta

from unlearning.data.batches import recorded_dataset
from unlearning.files import read_json, save_tensors
from unlearning.models import build
from unlearning.models.foreign import fitted, read, reordered
from unlearning.records.entry import stage_modules
from unlearning.records.record import computed_on, new_record, write_record
from unlearning.records.stored import on_device
from unlearning.runtime.device import choose_device, usable_precision
from unlearning.runtime.options import asked
from unlearning.training.loop import accuracy, check_finite


class Useless(ValueError):
    """An original that recognises hardly anything: it is not what the config says."""


def main(argv: list[str]) -> None:
    """Write the model and its record, which has the hash of the file; print its accuracy first.

    An original whose accuracy on the test images may be chance is refused: it was trained with
    another normalisation, or its outputs are in another order, or it is of other data.
    """
    shared = ("data", "settings", "model", "record")
    options = asked(argv, __doc__, *shared, weights="the file (.safetensors, .pth or .pt)")
    settings, path = json.loads(options.settings), options.weights
    inputs = {"data": options.data, "weights": path}
    record = new_record(settings, inputs, stage_modules("take", settings["arch"]))
    if record["inputs"]["weights"] != settings["weights_sha256"]:
        raise ValueError(f"{path} was replaced since this was planned: run again")
    device = choose_device(settings["threads"])
    dataset = recorded_dataset(record, device)
    precision = usable_precision(settings["precision"], device)
    shape = dataset.classes, dataset.train.shape[0]
    model = build(settings["arch"], *shape, precision=precision)
    state = fitted(read(path), model, settings["arch"], path)
    if names := settings.get("class_names"):
        state = reordered(state, names, _class_names(options.data, settings), path)
    model.load_state_dict(state)
    check_finite(model)
    model = on_device(model, dataset)
    test, count = accuracy(model, dataset.test), len(dataset.test)
    print(f"{path}: {test:.1%} of the {count} test images are recognised", flush=True)
    if "method" not in settings:
        check_useful(test, count, dataset.classes, path)
    record |= {
        "training_images": None,
        "training_seconds": None,
        "train_accuracy": accuracy(model, dataset.train),
        "test_accuracy": test,
        **computed_on(device, precision),
    }
    save_tensors(options.model, model.state_dict())
    write_record(options.record, record, {"model": options.model})


def check_useful(test: float, count: int, classes: int, path: str) -> None:
    """Raise Useless if the 99 % upper bound of an accuracy does not exceed twice chance.

    With two classes, where twice chance is everything: three quarters.
    """
    level = min(2 / classes, (1 + 1 / classes) / 2)
    bound = upper_bound(test, count, 0.99)
    if bound <= level:
        raise Useless(
            f"{path}: {test:.1%} of the {count} test images are recognised, at most {bound:.1%} "
            f"(99 %), and chance is {1 / classes:.1%}: check mean and std, the order of "
            "class_names, and that it is a model of this data set"
        )


def upper_bound(share: float, count: int, level: float) -> float:
    """The one-sided upper bound in [0, 1] of an accuracy on `count` images (Clopper-Pearson)."""
    right = round(share * count)
    return 1.0 if right == count else float(beta.ppf(level, right + 1, count - right))


def _class_names(data: str, settings: dict[str, Any]) -> list[str]:
    facts = read_json(Path(data).with_suffix(".json"))
    if not facts.get("class_names"):
        raise ValueError(
            f"class_names: {settings['dataset']} has no names of its classes to compare with; "
            "drop the key if the outputs are in the order of its labels"
        )
    return facts["class_names"]
