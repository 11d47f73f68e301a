"""evaluate: compute an original's logits on all images, once for all cells that start from it."""

from __future__ import annotations

import argparse
import json
import time

from unlearning.data.batches import load_dataset
from unlearning.files import save_tensors
from unlearning.records.entry import stage_modules
from unlearning.records.record import (
    check_made,
    new_record,
    peak_memory_mb,
    read_record,
    write_record,
)
from unlearning.records.stored import load_model
from unlearning.runtime.device import choose_device, usable_precision
from unlearning.training.loop import predict


def main(argv: list[str]) -> None:
    """Write the original's logits on the training and test part, and a record beside them."""
    parser = argparse.ArgumentParser(prog="unlearning evaluate", description=__doc__)
    parser.add_argument("--data", required=True, help="packed data set (safetensors)")
    parser.add_argument("--start", required=True, help="weights of the original (safetensors)")
    parser.add_argument("--start-record", required=True, help="their record (JSON)")
    parser.add_argument("--settings", required=True, help="the original's settings as JSON")
    parser.add_argument("--outputs", required=True, help="logits and labels to write (safetensors)")
    parser.add_argument("--record", required=True, help="record to write (JSON)")
    options = parser.parse_args(argv)
    settings = json.loads(options.settings)
    inputs = {"data": options.data, "start": options.start}
    record = new_record(settings, inputs, stage_modules("evaluate", settings["arch"]))
    start = read_record(options.start_record)
    check_made(options.start, "model", start, record["inputs"]["start"])
    device = choose_device(settings["threads"])
    moments = settings.get("normalisation")
    dataset = load_dataset(
        options.data, settings["evaluation"], device, record["inputs"]["data"], moments
    )

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
        "peak_memory_mb": peak_memory_mb(device),
        "device": device,
        "precision": precision,
    }
    write_record(options.record, record, {"outputs": options.outputs})
