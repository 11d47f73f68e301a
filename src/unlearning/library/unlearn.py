"""One function a method, for a user's own network and images."""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from unlearning import methods
from unlearning.data import samples
from unlearning.data.samples import Samples
from unlearning.library.presets import settings_of
from unlearning.library.run import run, typed
from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.models.split import check_split, joined, split
from unlearning.recipe import Strict
from unlearning.training import loop

PREDICTED_AT_ONCE = 100


@dataclass(frozen=True)
class Result:
    """What unlearning gives back.

    model: the unlearned network, in the form, on the device and in the modes of the one that was
    given. seconds: of the unlearning steps, with the reading of images, without the stop test.
    updates: steps of the optimizer. history: the accuracy on the images to forget after each
    epoch, in [0, 1]; empty where the settings say `stop: never`.
    """

    model: nn.Module
    seconds: float
    updates: int
    history: list[float]


def unlearn(
    method: str,
    model: nn.Module,
    forget: Any,
    retain: Any,
    *,
    head: str,
    preset: str | Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    forget_classes: Sequence[int] | None = None,
    stop_reference: Any = None,
    surrogate: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Result:
    """Forget images with one of the methods; the same function that the workflow calls.

    model: any torch network that gives logits [B, K]; it stays as it is. head: the name of its
    final linear layer, e.g. `fc`; what comes before gives the embeddings [B, D]. All weights are
    trained, whatever their requires_grad.

    forget, retain: map-style Datasets of (image, label), pairs of tensors (images [N, ...], labels
    int64 [N]), or DataLoaders, of which data set, collate function and workers are taken and order
    and batch size are not. Images as the model takes them; random transforms stay. What a method
    does not touch is not read.

    preset, settings: see `presets.settings_of`; one of them is needed. forget_classes: the classes
    that `forget` holds whole (class removal); None: images of any class (homogeneous removal).
    stop_reference: for the stop rule of homogeneous removal, the original's accuracy in [0, 1] on
    images that it has not seen, or such images. surrogate: images of another kind, for `scar`.
    mean, std: the normalisation of the images, for methods that work in pixels of 0..1
    (`boundary_shrink`; `scar` where it makes its own surrogates). seed: of all that is random;
    Python's, NumPy's and torch's global generators are put back. device: the model's unless given.

    Raises ValueError or TypeError, with what would be right, for arguments that do not fit; from
    `methods.base` NotDefined where the method's paper has no such scenario and Impossible where it
    cannot do it with these images; `training.loop.Diverged` if a loss or weight is not finite.
    """
    place = torch.device(device) if device is not None else _device_of(model)
    scenario = "homogeneous_removal" if forget_classes is None else "class_removal"
    values = settings_of(method, preset, settings, scenario)
    touched = methods.load(method).TOUCHES
    named = {"forget": forget, "retain": retain}
    parts = {k: samples.part(k, data) for k, data in named.items() if k in touched}
    moments = _moments(mean, std)
    with undisturbed(seed):
        classifier = _classifier(model, head, place)
        problem = Problem(
            train=Samples(list(parts.values()), place, seed, *moments),
            **_positions(parts, place),
            scenario=scenario,
            classes=classifier.head.out_features,
            forget_classes=tuple(forget_classes or ()),
            touches=touched,
            seed=seed,
        )
        _check_classes(problem, parts)
        _check_head(model, classifier, head, problem.train)
        chosen = _typed(method, values, problem)
        problem.reference = _reference(stop_reference, chosen, classifier, problem)
        problem.surrogate = _surrogate(method, surrogate, chosen, problem.train, moments)
        found = run(method, classifier, problem, chosen)
    network = found if isinstance(model, Classifier) else joined(found, head)
    _restore(network, model)
    return Result(network, problem.stopwatch.seconds, problem.updates, problem.history)


def function(method: str) -> Callable[..., Result]:
    """`unlearn` with its method named: `duck(model, forget, retain, head="fc", ...)`."""

    def named(model: nn.Module, forget: Any, retain: Any, **options: Any) -> Result:
        return unlearn(method, model, forget, retain, **options)

    signature = inspect.signature(unlearn)
    named.__signature__ = signature.replace(parameters=[*signature.parameters.values()][1:])
    named.__name__ = named.__qualname__ = method
    named.__doc__ = f"{methods.load(method).__doc__}\nArguments and errors: {__name__}.unlearn."
    return named


@torch.no_grad()
def predict(model: nn.Module, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, K] in evaluation mode and labels int64 [N], on the CPU, in the order of `data`.

    data: images as for `unlearn`. The model is left in its modes, and global generators as they
    are.
    """
    place, modes = _device_of(model), _modes(model)
    images = Samples([samples.part("data", data)], place)
    model.eval()
    try:
        with undisturbed(0):
            chunks = torch.arange(len(images)).split(PREDICTED_AT_ONCE)
            found = [(model(batch).cpu(), labels.cpu()) for batch, labels in images.batches(chunks)]
    finally:
        _set_modes(model, modes)
    logits, labels = (torch.cat(side) for side in zip(*found, strict=True))
    return logits, labels


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Start the global generators of Python, NumPy and torch from `seed`, and put them back."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    kept = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(gpus)):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])


def _device_of(model: nn.Module) -> torch.device:
    return next((weight.device for weight in model.parameters()), torch.device("cpu"))


def _classifier(model: nn.Module, head: str, place: torch.device) -> Classifier:
    """A copy of the model, split at its head, all of it to be trained."""
    twin = copy.deepcopy(model)
    if not isinstance(twin, Classifier):
        twin = split(twin, head)
    elif head != "head":
        raise ValueError(f"head: that of a Classifier is called 'head', not {head!r}")
    return twin.requires_grad_(True).to(place, memory_format=torch.channels_last)


def _check_head(model: nn.Module, classifier: Classifier, head: str, data: Samples) -> None:
    """Raise ValueError if the copy, split at `head`, does not give the logits of the model."""
    if not isinstance(model, Classifier):
        some, _ = data.batch(torch.arange(min(2, len(data))))
        check_split(copy.deepcopy(model).to(data.device), classifier, head, some)


def _positions(parts: Mapping[str, samples.Part], place: torch.device) -> dict[str, torch.Tensor]:
    """Where the images of each part are in all of them; none of a part that is not there."""
    found, first = {}, 0
    for name in ("forget", "retain"):
        count = len(parts[name].data) if name in parts else 0
        found[name] = torch.arange(first, first + count, device=place)
        first += count
    return found


def _moments(mean: Sequence[float] | None, std: Sequence[float] | None) -> tuple:
    if (mean is None) != (std is None):
        raise ValueError("mean and std belong together: give both or neither")
    return (None, None) if mean is None else (torch.tensor(mean), torch.tensor(std))


def _check_classes(problem: Problem, parts: Mapping[str, samples.Part]) -> None:
    """Raise ValueError if the labels are not what `forget_classes` says."""
    gone = torch.tensor(problem.forget_classes, dtype=torch.int64)
    if strange := [c for c in gone.tolist() if not 0 <= c < problem.classes]:
        raise ValueError(
            f"forget_classes: class {strange[0]} is outside 0..{problem.classes - 1}, the outputs "
            "of the model"
        )
    labels = problem.train.labels.cpu()
    if not 0 <= int(labels.min()) <= int(labels.max()) < problem.classes:
        worst = int(labels.max()) if int(labels.min()) >= 0 else int(labels.min())
        raise ValueError(f"label {worst} is outside 0..{problem.classes - 1}, the model's outputs")
    for name in parts if len(gone) else ():
        inside = torch.isin(labels[getattr(problem, name).cpu()], gone)
        wrong = ~inside if name == "forget" else inside
        if wrong.any():
            raise ValueError(
                f"{name}: {int(wrong.sum())} of its {len(wrong)} images are of other classes than "
                f"forget_classes={list(problem.forget_classes)} allows there; split by class, or "
                "leave forget_classes out"
            )


def _typed(method: str, values: Mapping[str, Any], problem: Problem) -> Strict:
    try:
        return typed(method, values, problem)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"settings of {method}: {'; '.join(wrong)}") from None


def _reference(
    given: Any, settings: Strict, model: Classifier, problem: Problem
) -> dict[str, float]:
    """The original's accuracy on unseen images, where the stop rule compares with it."""
    if problem.forget_classes or getattr(settings, "stop", "never") == "never":
        return {}
    if given is None:
        raise ValueError(
            f"stop: {settings.stop!r} compares with the original's accuracy on images that it has "
            "not seen: give stop_reference, a number in [0, 1] or such images, or set stop: never"
        )
    if not isinstance(given, (int, float)):
        unseen = Samples([samples.part("stop_reference", given)], problem.train.device)
        given = loop.accuracy(model, unseen)
    if not 0 <= given <= 1:
        raise ValueError(f"stop_reference: an accuracy in [0, 1], not {given!r}")
    return {settings.stop: float(given)}


def _surrogate(method: str, given: Any, settings: Strict, data: Samples, moments: tuple) -> Any:
    """The images that a method takes in place of retained ones; None for one that takes none."""
    if "surrogate" not in methods.load(method).TOUCHES:
        if given is not None:
            raise TypeError(f"surrogate: {method} takes none; leave it out")
        return None
    if given is not None:
        return Samples([samples.part("surrogate", given)], data.device)
    if moments[0] is None:
        raise ValueError(
            f"{method} needs images of another kind: give surrogate, a data set of them, or mean "
            f"and std, so that it makes its own ({settings.surrogate})"
        )
    return methods.load(method).surrogates(settings, data)


def _restore(network: nn.Module, given: nn.Module) -> None:
    """Put the network on the device of `given`, with its modes and its requires_grad."""
    network.to(_device_of(given))
    _set_modes(network, _modes(given))
    trained = dict(given.named_parameters())
    for name, weight in network.named_parameters():
        weight.requires_grad_(trained[name].requires_grad)
        weight.grad = None


def _modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def _set_modes(model: nn.Module, modes: Mapping[str, bool]) -> None:
    for name, module in model.named_modules():
        module.training = modes[name]
