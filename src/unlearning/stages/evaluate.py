"""evaluate: compute an original's logits on all images, once for all cells that start from it."""

from __future__ import annotations

import json
import time

from unlearning.data.batches import recorded_dataset
from unlearning.files import save_tensors
from unlearning.records.entry import stage_modules
from unlearning.records.record import (
    check_made,
    computed_on,
    new_record,
    read_record,
    write_record,
)
from unlearning.records.stored import load_model
from unlearning.runtime.device import choose_device, usable_precision
from unlearning.runtime.options import asked
from unlearning.training.loop import predict


def main(argv: list[str]) -> None:
    """Write the original's logits on the training and test part, and a record beside them."""
    shared = ("data", "start", "start_record", "settings", "outputs", "record")
    options = asked(argv, __doc__, *shared)
    settings = json.loads(options.settings)
    inputs = {"data": options.data, "start": options.start}
    record = new_record(settings, inputs, stage_modules("evaluate", settings["arch"]))
    start = read_record(options.start_record)
    check_made(options.start, "model", start, record["inputs"]["start"])
    device = choose_device(settings["threads"])
    dataset = recorded_dataset(record, device)

    precision = usable_precision(settings["precision"], device)
    built = settings | {"start_arch": settings["arch"], "precision": precision}
    model = load_model(built, dataset, options.start)
    train = predict(model, dataset.train).cpu()
    begun = time.perf_counter()
    test = predict(model, dataset.test).cpu()
    seconds = time.perf_counter() - begun
    outputs = {
        "train_logits": train,
        "train_labels": dataset.train.labels,
        "test_logits": test,
        "test_labels": dataset.test.labels,
    }
    save_tensors(options.outputs, outputs)
    record |= {
        "start_code_sha256": start["code_sha256"],
        "test_seconds": seconds,
        **computed_on(device, precision),
    }
    write_record(options.record, record, {"outputs": options.outputs})
