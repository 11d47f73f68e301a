"""The one training loop: originals and oracles (later: shadow models) are all made here."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from unlearning.data.batches import Images, augment, index_batches
from unlearning.files import load_tensors, save_tensors
from unlearning.models.base import Classifier
from unlearning.optim import SGD
from unlearning.recipe import Recipe, lr_factor
from unlearning.seeds import seed_for

EVALUATION_BATCH = {"cpu": 100, "cuda": 5000}  # what the caches hold; what fills a GPU

write_line = functools.partial(print, flush=True)


class Diverged(ArithmeticError):
    """A loss or a weight that is not finite; a method's cell then ends with a record of it."""


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
    state is written after each epoch and is the caller's to delete. Seconds cover the
    epochs alone, with the device synchronised, over all the sessions of a resumed run.
    Progress is a bar on a terminal; elsewhere each epoch is a line, written at once.

    Raises Diverged when an epoch's mean loss or a weight is not finite.
    """
    optimizer = SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    first, seconds = _resume(model, optimizer, state_path)
    epochs = tqdm(range(first, recipe.epochs), disable=not sys.stderr.isatty(), unit="epoch")
    for epoch in epochs:
        start = time.perf_counter()
        loss = _epoch(model, data, indices, recipe, optimizer, loss_of, epoch, seed)
        _synchronise(data.images.device)
        seconds += time.perf_counter() - start
        if not math.isfinite(loss):
            raise Diverged(f"training loss is {loss} in epoch {epoch + 1}")
        epochs.set_postfix(loss=f"{loss:.4f}")
        if epochs.disable:
            log(f"epoch {epoch + 1}/{recipe.epochs}  loss {loss:.4f}  {seconds:.1f} s")
        if state_path is not None:
            _save_state(model, optimizer, epoch + 1, seconds, state_path)
    check_finite(model)
    return seconds


def _epoch(model, data, indices, recipe, optimizer, loss_of, epoch, seed) -> float:
    """One pass over `indices`; returns the mean training loss."""
    generator = torch.Generator().manual_seed(seed_for(seed, epoch))
    torch.manual_seed(seed_for(seed, epoch, "dropout"))
    model.train()
    batches = index_batches(len(indices), recipe.batch_size, generator)
    steps, total = len(batches), torch.zeros((), device=data.images.device)
    for step, positions in enumerate(batches):
        chosen = indices[positions.to(indices.device)]
        images = augment(data.images[chosen], recipe.flip, recipe.crop, generator)
        labels = data.labels[chosen]
        progress = (epoch * steps + step) / (recipe.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * lr_factor(recipe.schedule, progress)
        loss = model.training_loss(data.normalise(images), labels, loss_of, epoch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(chosen)
    return float(total) / len(indices)


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
    device = data.images.device
    if indices is None:
        indices = torch.arange(len(data), device=device)
    size = EVALUATION_BATCH[device.type]
    was_training = model.training
    model.eval()
    outputs = [function(data.batch(chunk)[0]) for chunk in indices.split(size)]
    model.train(was_training)
    return torch.cat(outputs)


def accuracy(model: Classifier, data: Images, indices: torch.Tensor | None = None) -> float:
    """Share in [0, 1] of the images at `indices` whose label has the largest logit."""
    labels = data.labels if indices is None else data.labels[indices]
    return (predict(model, data, indices).argmax(1) == labels).float().mean().item()


def _save_state(model, optimizer, epochs_done, seconds, path) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optim.{index}.{k}": v for k, v in slots.items() if v is not None}
    tensors["progress"] = torch.tensor([epochs_done, seconds], dtype=torch.float64)
    save_tensors(path, tensors)


def _resume(model, optimizer, path) -> tuple[int, float]:
    """Load a saved state, if there is one; returns (epochs done, seconds spent)."""
    if path is None or not path.exists():
        return 0, 0.0
    tensors = load_tensors(path)
    epochs_done, seconds = tensors.pop("progress").tolist()
    weights, slots = {}, {}
    for name, tensor in tensors.items():
        kind, key = name.split(".", 1)
        if kind == "model":
            weights[key] = tensor
        else:
            index, slot = key.split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
    model.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return int(epochs_done), seconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
