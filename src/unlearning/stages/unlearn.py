"""unlearn: run one method on one forget set; write the model, its logits and a record."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearning import methods
from unlearning.data.batches import Dataset, recorded_dataset
from unlearning.data.splits import check_split, given, retained
from unlearning.files import DamagedFile, load_tensors, read_json, save_tensors
from unlearning.library.run import run, typed
from unlearning.methods.base import Impossible, Problem
from unlearning.metrics.evaluated import chosen
from unlearning.models.base import Classifier
from unlearning.records.entry import stage_modules
from unlearning.records.record import (
    RECORD,
    check_made,
    computed_on,
    new_record,
    read_record,
    write_record,
)
from unlearning.records.stored import load_model
from unlearning.runtime.device import choose_device
from unlearning.runtime.options import asked
from unlearning.seeds import seed_for
from unlearning.training.loop import Diverged, accuracy, predict
from unlearning.training.optim import SGD
from unlearning.training.start import resumable

WARM_UP_BATCH = 128
ONE_IMAGE = "Expected more than 1 value per channel when training"
"""How torch's BatchNorm begins what it says of a batch of one image."""
UNTIMED = {*methods.REFERENCES, *methods.ORIGINALS}


def main(argv: list[str]) -> None:
    """Write the unlearned model, its logits on the training and test part, and the record.

    A job that was killed goes on after the last epoch whose state was saved (`Problem.epochs`). Its
    seconds are those of an uninterrupted run: an epoch that was lost and what the new process does
    again, the reading of the data and the targets for instance, are left out of both spans.

    A method that diverges, or that cannot do what is asked with this forget set, leaves a cell
    of the status `diverged` or `failed` with a reason; the model of a failed one is its start.

    An original's logits are cut out of `--evaluated`, which it needs unless it is a model that
    was unlearned elsewhere; for a method they give the
    reference of the stop rule. With `retain_evaluated` in the settings the training images are D_f
    and a fixed sample of so many others. Cut rows are the bits of an evaluation of all images; of
    one of the sample alone, whose batches are others, the last bits may differ.

    UNLEARNING_UNTIMED=1 is for a run beside other work: its seconds are no times to compare. The
    record keeps them as `wall_seconds`, and the two spans stay empty.
    """
    options = asked(
        argv,
        __doc__,
        *("data", "split", "start", "start_record", "settings", "model", "outputs", "record"),
        evaluated={"help": "the start's logits on all images, as the verb `evaluate` wrote them"},
    )
    settings = json.loads(options.settings)
    inputs = {role: getattr(options, role) for role in ("data", "split", "start", "evaluated")}
    modules = stage_modules("unlearn", settings["start_arch"], settings["base_method"])
    record = new_record(settings, inputs, modules)
    start = read_record(options.start_record)
    check_made(options.start, "model", start, record["inputs"]["start"])
    stated = _evaluated_record(options.evaluated, settings, record["inputs"])
    evaluated = load_tensors(options.evaluated) if options.evaluated else None
    device = choose_device(settings["threads"])
    dataset = recorded_dataset(record, device)
    split = read_json(options.split)
    check_split(split, options.split)

    method = methods.load(settings["base_method"])
    resume = Path(options.model).parent / "resume"
    precision, state = resumable(resume, record, device)
    built = {**settings, "precision": precision}
    model = load_model(built, dataset, options.start)
    problem = _problem(settings, dataset, split, method.TOUCHES, state)
    hyperparameters = typed(settings["base_method"], settings["hyperparameters"], problem)
    if "surrogate" in method.TOUCHES:
        problem.surrogate = method.surrogates(hyperparameters, dataset.train)
    if settings["base_method"] not in UNTIMED:
        _warm_up(model, dataset)
    problem.whole.start()
    problem.reference = _reference(model, dataset, split, evaluated)
    status, reason = "ok", ""
    try:
        model = run(settings["base_method"], model, problem, hyperparameters)
    except Diverged as error:
        status, reason = "diverged", str(error)
    except ValueError as error:
        if not _impossible(error):
            raise
        status, reason = "failed", " ".join(str(error).split())
        model = load_model(built, dataset, options.start)
    save_tensors(options.model, model.state_dict())
    problem.whole.stop()

    # The reference's own evaluation was made once before: the official span has it.
    before = stated["test_seconds"] if problem.reference and evaluated else 0.0
    at = chosen(split, len(dataset.train), settings.get("retain_evaluated"))
    at = None if at is None else torch.from_numpy(at)
    known = settings["base_method"] in methods.ORIGINALS and evaluated is not None
    outputs = _cut(evaluated, at) if known else _outputs(model, dataset, at)
    if status == "ok" and not _finite(outputs):
        status, reason = "diverged", "logits are not finite"
    if status != "ok":
        print(f"{status}: {reason}", flush=True)
    save_tensors(options.outputs, outputs)
    seconds, whole = _seconds(settings["base_method"], problem, start, before)
    timed = os.environ.get("UNLEARNING_UNTIMED", "") != "1"
    record |= {
        "unlearning_seconds": seconds if status == "ok" and timed else None,
        "official_seconds": whole if status == "ok" and timed else None,
        "timed": timed,
        "wall_seconds": seconds,
        "start_code_sha256": start["code_sha256"],
        "pretrained_sha256": start["inputs"].get("pretrained"),
        "status": status,
        "reason": reason,
        "touches": sorted(method.TOUCHES),
        "updates": problem.updates,
        "capped": status == "ok" and not problem.stopped and _shortened(settings),
        "resumed": problem.resumed,
        "forget_accuracy_by_epoch": problem.history,
        "stop_reference": problem.reference,
        **computed_on(device, precision),
    }
    made = {"model": options.model, "outputs": options.outputs}
    write_record(options.record, record, made)
    shutil.rmtree(resume, ignore_errors=True)


def _impossible(error: ValueError) -> bool:
    """Whether it says what the method cannot do here; any other is an error of the code."""
    return isinstance(error, Impossible) or str(error).startswith(ONE_IMAGE)


def _finite(outputs: Mapping[str, torch.Tensor]) -> bool:
    """Whether all logits are finite: finite weights may still give others."""
    return all(bool(torch.isfinite(outputs[f"{part}_logits"]).all()) for part in ("train", "test"))


def _evaluated_record(
    path: str | None, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> dict[str, Any] | None:
    """The record beside the outputs of `evaluate`; None without a path.

    Raises ValueError if an original has no path or the oracle, whose start is no original, has
    one, and DamagedFile if they are not of this cell's data and start.
    """
    method = settings["base_method"]
    if path is None:
        if method in methods.ORIGINALS and "weights_sha256" not in settings:
            raise ValueError(f"{method} needs --evaluated, the logits that `evaluate` wrote")
        return None
    if method == "oracle":
        raise ValueError("the oracle takes no --evaluated: it does not start from an original")
    stated = read_record(Path(path).with_name(RECORD))
    check_made(path, "outputs", stated, inputs["evaluated"])
    for role in ("data", "start"):
        if stated["inputs"][role] != inputs[role]:
            raise DamagedFile(path, f"its record is of another {role} than this cell's")
    return stated


def _problem(
    settings: Mapping[str, Any],
    dataset: Dataset,
    split: Mapping[str, Any],
    touches: frozenset,
    state: Path,
) -> Problem:
    device = dataset.train.images.device
    keys = ("dataset", "arch", "scenario", "split", "train_seed", "method", "unlearn_seed")
    seed = seed_for("unlearn", *(settings[key] for key in keys))
    retain, forget = retained(split["forget"], len(dataset.train)), np.array(split["forget"])
    if share := settings.get("given"):
        retain, forget = (given(share, part, split["dataset"]) for part in (retain, forget))
    return Problem(
        train=dataset.train,
        retain=torch.from_numpy(retain).to(device),
        forget=torch.from_numpy(forget).to(device),
        scenario=settings["scenario"],
        classes=dataset.classes,
        forget_classes=tuple(split["classes"]),
        touches=touches,
        seed=seed,
        state=state,
    )


def _shortened(settings: Mapping[str, Any]) -> bool:
    """Whether the config lets the method run for fewer epochs than its published settings."""
    published = settings.get("published_epochs")
    return published is not None and settings["hyperparameters"]["epochs"] < published


def _reference(
    model: Classifier,
    dataset: Dataset,
    split: Mapping[str, Any],
    evaluated: Mapping[str, torch.Tensor] | None,
) -> dict[str, float]:
    """The start's accuracy on both halves of the test part, where the split has them.

    In sub-class removal, for both: on the test images of the sub-class, too few for halves.
    From the logits `evaluated` if there are any, else by evaluating the start.
    """
    both = {half: split.get("forget_test", split[half]) for half in ("test", "validation")}
    halves = {half: part for half, part in both.items() if part is not None}
    if evaluated is None:
        at = {half: torch.tensor(part) for half, part in halves.items()}
        device = dataset.test.images.device
        return {half: accuracy(model, dataset.test, part.to(device)) for half, part in at.items()}
    correct = evaluated["test_logits"].argmax(1) == evaluated["test_labels"]
    return {half: int(correct[part].sum()) / len(part) for half, part in halves.items()}


def _warm_up(model: Classifier, dataset: Dataset) -> None:
    """One step of a copy on noise, so that first use is outside the unlearning time."""
    twin = copy.deepcopy(model).train()
    images = dataset.train.images
    noise = torch.zeros(WARM_UP_BATCH, *images.shape[1:], dtype=torch.uint8, device=images.device)
    loss = twin(dataset.train.normalise(noise)).square().mean()
    loss.backward()
    SGD(twin.parameters(), lr=0.0).step()


def _outputs(
    model: Classifier, dataset: Dataset, at: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Logits and labels of the test images and of the training images `at`, or of all."""
    labels = dataset.train.labels
    found = {"test_logits": predict(model, dataset.test), "test_labels": dataset.test.labels}
    if at is None:
        return found | {"train_logits": predict(model, dataset.train), "train_labels": labels}
    rows = at.to(labels.device)
    found |= {"train_logits": predict(model, dataset.train, rows), "train_labels": labels[rows]}
    return found | {"train_positions": at}


def _cut(
    evaluated: Mapping[str, torch.Tensor], at: torch.Tensor | None
) -> Mapping[str, torch.Tensor]:
    """What `_outputs` gives, from the logits of an evaluation of all images."""
    if at is None:
        return evaluated
    train = {name: evaluated[name][at] for name in ("train_logits", "train_labels")}
    return {**evaluated, **train, "train_positions": at}


def _seconds(method: str, problem: Problem, start: Mapping[str, Any], before: float) -> tuple:
    """Both spans in seconds; none for the original, the oracle's is its training."""
    if method in methods.ORIGINALS:
        return None, None
    if method == "oracle":
        return start["training_seconds"], start["training_seconds"]
    return problem.stopwatch.seconds, problem.whole.seconds + before
