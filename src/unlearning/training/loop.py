"""The training loop of originals, oracles and shadow models."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from unlearning.data.batches import Images, augment, index_batches, resized
from unlearning.files import load_tensors, save_tensors
from unlearning.models.base import Classifier
from unlearning.recipe import Recipe, lr_factor
from unlearning.runtime import interrupt
from unlearning.runtime.device import synchronize
from unlearning.seeds import seed_for
from unlearning.training.optim import SGD

EVALUATION_BATCH = {"cpu": 100, "cuda": 5000, "mps": 5000}  # what the caches hold; what fills a GPU

write_line = functools.partial(print, flush=True)


class Diverged(ArithmeticError):
    """A loss or a weight that is not finite; a method's cell then ends with a record of it."""


@dataclasses.dataclass
class Progress:
    """Where a training stands: what its state file holds beside weights and momentum."""

    epoch: int = 0
    step: int = 0  # steps of this epoch that are done
    seconds: float = 0.0
    loss: torch.Tensor | None = None  # summed over the images of this epoch, float32 []
    random: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # generators' states


def train(
    model: Classifier,
    data: Images,
    indices: torch.Tensor,
    recipe: Recipe,
    seed: int,
    state_path: Path | None = None,
    log: Callable[[str], None] = write_line,
) -> float:
    """Train `model` in place on `data` at `indices` [N] and return the seconds spent.

    Each epoch draws its order, augmentation and dropout from `seed_for(seed, epoch)`, so
    a run that resumes from `state_path` gives the weights of an uninterrupted one. The
    state is written after each epoch and is the caller's to delete. On SIGTERM or SIGINT it is
    written after the running step, and the process ends with the signal's status. Seconds cover
    the epochs alone, with the device synchronised, over all the sessions of a resumed run.
    Progress is a bar on a terminal; elsewhere each epoch is a line, written at once.

    Raises Diverged when an epoch's mean loss or a weight is not finite.
    """
    optimizer = SGD(
        parameter_groups(model, recipe),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    at = _resume(model, optimizer, state_path)
    epochs = tqdm(range(at.epoch, recipe.epochs), disable=not sys.stderr.isatty(), unit="epoch")
    with interrupt.deferred() as told:
        for epoch in epochs:
            start = time.perf_counter()
            loss = _epoch(model, data, indices, recipe, optimizer, loss_of, at, seed, told)
            synchronize(data.images.device)
            at.seconds += time.perf_counter() - start
            if loss is not None:
                if not math.isfinite(loss):
                    raise Diverged(f"training loss is {loss} in epoch {epoch + 1}")
                epochs.set_postfix(loss=f"{loss:.4f}")
                if epochs.disable:
                    log(f"epoch {epoch + 1}/{recipe.epochs}  loss {loss:.4f}  {at.seconds:.1f} s")
                at = Progress(epoch + 1, seconds=at.seconds)
            if state_path is not None:
                _save_state(model, optimizer, at, state_path)
            if told:
                log(f"interrupted: state saved at epoch {at.epoch}, step {at.step}")
                break
    check_finite(model)
    return at.seconds


def _epoch(model, data, indices, recipe, optimizer, loss_of, at, seed, told) -> float | None:
    """One pass over `indices` from step `at.step` on; returns the mean training loss.

    Returns None, with `at` brought up to date, if `told` has a signal before the last step is done.
    """
    epoch, device, size = at.epoch, data.images.device, recipe.size_in(at.epoch)
    generator = torch.Generator().manual_seed(seed_for(seed, epoch))
    torch.manual_seed(seed_for(seed, epoch, "dropout"))
    model.train()
    batches = index_batches(len(indices), recipe.batch_size, generator)
    _set_random(generator, at.random)
    steps = len(batches)
    total = torch.zeros((), device=device) if at.loss is None else at.loss.to(device)
    for step, positions in enumerate(batches[at.step :], start=at.step):
        if told:
            at.step, at.loss, at.random = step, total, _random(generator)
            return None
        chosen = indices[positions.to(indices.device)]
        images = data.images[chosen]
        images = augment(images, recipe.flip, recipe.crop, generator, recipe.padding)
        images = data.normalise(images)
        images = resized(images, size) if size else images
        labels = data.labels[chosen]
        progress = (epoch * steps + step) / (recipe.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * lr_factor(recipe.schedule, progress)
        loss = model.training_loss(images, labels, loss_of, epoch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(chosen)
    return float(total) / len(indices)


def parameter_groups(model: Classifier, recipe: Recipe) -> list[dict]:
    """The model's parameters with the weight decay of each, for an optimizer."""
    if recipe.weight_decay_on == "all":
        return [{"params": list(model.parameters()), "weight_decay": recipe.weight_decay}]
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def check_finite(model: Classifier) -> None:
    """Raise Diverged if a weight or a statistic of the model is not finite."""
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} is not finite")


def predict(model: Classifier, data: Images, indices: torch.Tensor | None = None) -> torch.Tensor:
    """Logits [N, K] in evaluation mode; the model is left in the mode it was in."""
    return _evaluate(model, model, data, indices)


def embed(model: Classifier, data: Images, indices: torch.Tensor | None = None) -> torch.Tensor:
    """Embeddings [N, D] in evaluation mode; the model is left in the mode it was in."""
    return _evaluate(model, model.embed, data, indices)


def layers(model: Classifier, data: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [N, D] and the middle block's features [N, F], otherwise as `embed`."""
    width = model.head.in_features
    both = _evaluate(model, lambda images: torch.cat(model.layers(images), 1), data, None)
    return both[:, :width], both[:, width:]


@torch.inference_mode()
def _evaluate(model, function, data, indices):
    if indices is None:
        indices = torch.arange(len(data), device=data.device)
    size = EVALUATION_BATCH[data.device.type]
    was_training = model.training
    model.eval()
    outputs = [function(images) for images, _ in data.batches(indices.split(size))]
    model.train(was_training)
    return torch.cat(outputs)


def accuracy(model: Classifier, data: Images, indices: torch.Tensor | None = None) -> float:
    """Share in [0, 1] of the images at `indices` whose label has the largest logit.

    A quotient of two whole numbers: 3 of 300 is 0.01 and not below it, as it is in float32.
    """
    labels = data.labels if indices is None else data.labels[indices]
    correct = int((predict(model, data, indices).argmax(1) == labels).sum())
    return correct / len(labels)


def _save_state(model, optimizer, at: Progress, path: Path) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optim.{index}.{k}": v for k, v in slots.items() if v is not None}
    tensors |= {f"random.{name}": state for name, state in at.random.items()}
    if at.loss is not None:
        tensors["at.loss"] = at.loss
    numbers = [at.epoch, at.step, at.seconds]
    tensors["at.progress"] = torch.tensor(numbers, dtype=torch.float64)
    save_tensors(path, tensors)


def _resume(model, optimizer, path: Path | None) -> Progress:
    """Load a saved state, if there is one; returns how far it is."""
    if path is None or not path.exists():
        return Progress()
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optim": {}, "random": {}, "at": {}}
    for name, tensor in load_tensors(path).items():
        kind, key = name.split(".", 1)
        parts[kind][key] = tensor
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in parts["optim"].items():
        index, slot = key.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    model.load_state_dict(parts["model"])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    epoch, step, seconds = parts["at"]["progress"].tolist()
    return Progress(int(epoch), int(step), seconds, parts["at"].get("loss"), parts["random"])


def _random(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The states of all generators that an epoch draws from."""
    found = {"batches": generator.get_state(), "dropout": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def _set_random(generator: torch.Generator, states: dict[str, torch.Tensor]) -> None:
    """Put the generators back where they were; no states leave them as they are."""
    if states:
        generator.set_state(states["batches"])
        torch.set_rng_state(states["dropout"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
