"""What a method is given: the data sets, epochs that resume, a stop rule, clocks, checked steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from unlearning.data.batches import Images, index_batches
from unlearning.models.base import Classifier
from unlearning.recipe import Strict
from unlearning.runtime.stopwatch import Stopwatch
from unlearning.training import checkpoint
from unlearning.training.loop import Diverged, accuracy
from unlearning.training.optim import SGD


class AccessError(PermissionError):
    """A method asked for data that its TOUCHES does not name."""


class Impossible(ValueError):
    """What a method cannot do with this forget set, however often it is tried."""


class NotDefined(ValueError):
    """The method's paper does not define it for this scenario."""


class EarlyStop(Strict):
    """When to stop: the paper's rule, checked on the forget set after each epoch.

    stop: `never`, or where the accuracy comes from that homogeneous removal compares
    with: `test`, the evaluation half itself as in the paper and the release, or
    `validation`, the other half of the test set. Class removal compares with
    `forget_target` and needs no such data.
    """

    stop: Literal["test", "validation", "never"]
    forget_target: float = Field(ge=0, le=1)


class OptionalStop(EarlyStop):
    """The same rule where a method's paper has none: off, unless a config or a search asks."""

    stop: Literal["test", "validation", "never"] = "never"
    forget_target: float = Field(0.01, ge=0, le=1)


@dataclass(frozen=True)
class Loop:
    """One of a method's loops over epochs, counted from 1, and what its epochs change."""

    number: int
    count: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler | None


COUNTED = ("updates", "history", "stopped", "resumed")
"""What a `Problem` counts: saved with its state."""


@dataclass
class Problem:
    """One forget set, as a method sees it.

    retain, forget: int64 positions in `train`. reference: the original's accuracy on the
    two halves of the test set, for the stop rule of homogeneous removal. surrogate: images
    of another data set, in the shape of `train`, for a method that stands on no retained data.
    state: the file in which `epochs` saves how far it is; None: nowhere. It is the caller's to
    delete.

    stopwatch: the unlearning steps alone; whole: the authors' span, with the stop test and its
    reference. Neither counts the saving of states or, in a resumed run, what is done twice.
    stopped: the stop test has passed. resumed: how many times a saved state was gone on from.
    """

    train: Images
    retain: torch.Tensor
    forget: torch.Tensor
    scenario: str
    classes: int
    forget_classes: tuple[int, ...]
    touches: frozenset[str]
    seed: int
    reference: dict[str, float] = field(default_factory=dict)
    surrogate: Images | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.stopwatch = Stopwatch(self.train.device)
        self.whole = Stopwatch(self.train.device)
        self.history: list[float] = []
        self.updates = 0
        self.stopped = False
        self.resumed = 0
        self._kept: dict[str, list[torch.Tensor]] = {}
        self._loop: Loop | None = None
        self._saved_at = time.perf_counter()
        exists = self.state is not None and self.state.exists()
        self._saved = checkpoint.Saved(self.state) if exists else None

    @property
    def retained_classes(self) -> list[int]:
        """The classes that stay: all of them in homogeneous removal."""
        return [c for c in range(self.classes) if c not in self.forget_classes]

    @property
    def samples(self) -> bool:
        """Whether images of classes that stay are to be forgotten, and no shortcut."""
        return self.scenario in ("homogeneous_removal", "sample_removal", "subclass_removal")

    def require_class_removal(self, method: str) -> None:
        """Raise NotDefined unless whole classes are to be forgotten."""
        if self.scenario != "class_removal":
            raise NotDefined(f"{method} is defined for class removal, not for {self.scenario}")

    def indices(self, part: str) -> torch.Tensor:
        """Positions of `retain` or `forget` in `train`, or of `surrogate` in its own images.

        Raises AccessError if the method does not declare the part.
        """
        if part not in self.touches:
            allowed = " and ".join(sorted(self.touches)) or "no data"
            raise AccessError(f"this method declares that it touches {allowed}, not {part}")
        if part == "surrogate":
            return torch.arange(len(self.surrogate), device=self.surrogate.device)
        return {"retain": self.retain, "forget": self.forget}[part]

    def batches(
        self, part: str, batch_size: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """One shuffled pass over a part of the data, without augmentation, none dropped.

        Yields normalised images [B, C, H, W], labels [B] and positions [B] in the part.
        Labels of `surrogate` mean nothing.
        """
        indices, data = self._part(part)
        chunks = index_batches(len(indices), batch_size, self.generator)
        chunks = [positions.to(indices.device) for positions in chunks]
        found = data.batches(indices[positions] for positions in chunks)
        yield from ((*batch, at) for batch, at in zip(found, chunks, strict=True))

    def endless(
        self, part: str, batch_size: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Pass after pass of `batches`, next to a loop over another part; one stream a part."""
        (indices, data), waiting = self._part(part), self.keep(f"batches of {part}")
        while True:
            if not waiting:
                waiting += index_batches(len(indices), batch_size, self.generator)
            positions = waiting.pop(0).to(indices.device)
            yield *data.batch(indices[positions]), positions

    def _part(self, part: str) -> tuple[torch.Tensor, Images]:
        return self.indices(part), self.surrogate if part == "surrogate" else self.train

    def keep(self, name: str) -> list[torch.Tensor]:
        """A list of tensors that is saved and restored with the state: what epochs hand on.

        Change it in place.
        """
        return self._kept.setdefault(name, [])

    def epochs(
        self,
        count: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> Iterator[int]:
        """Yield the numbers of a loop's epochs, 0 … count - 1, and save the state after each.

        A method has one such loop or several, in a fixed order. In a new process that finds a
        saved state, loops that were finished yield nothing; the next one restores the state and
        goes on after the last saved epoch, with the bits of an uninterrupted run. What a method
        computes before its loops it computes again, from the same model and seed. Of an epoch
        that a signal ends nothing is saved. States are at least `checkpoint.INTERVAL` apart.
        """
        number = 1 if self._loop is None else self._loop.number + 1
        self._loop = Loop(number, count, model, optimizer, schedule)
        for epoch in range(self._restore(self._loop), count):
            yield epoch
            self._save(self._loop, epoch + 1)

    def _save(self, loop: Loop, epoch: int) -> None:
        """Save the state in which `epoch` epochs of a loop are done, unless it is too early."""
        if self.state is None or time.perf_counter() - self._saved_at < checkpoint.INTERVAL:
            return
        with self.stopwatch.paused(), self.whole.paused():
            numbers = {
                "loop": loop.number,
                "epoch": epoch,
                "scheduled": None if loop.schedule is None else loop.schedule.last_epoch,
                "seconds": [self.stopwatch.seconds, self.whole.seconds],
                **{name: getattr(self, name) for name in COUNTED},
            }
            checkpoint.save(
                self.state, numbers, loop.model, loop.optimizer, self.generator, self._kept
            )
        self._saved_at = time.perf_counter()

    def _restore(self, loop: Loop) -> int:
        """Load the saved state, if there is one; return the epoch to resume at."""
        if self._saved is None or loop.number > self._saved.numbers["loop"]:
            return 0
        numbers = self._saved.numbers
        if loop.number < numbers["loop"]:
            return loop.count
        with self.stopwatch.paused(), self.whole.paused():
            self._saved.restore(loop.model, loop.optimizer, self.generator, self._kept)
            self._saved = None
            if loop.schedule is not None:
                loop.schedule.load_state_dict({"last_epoch": numbers["scheduled"]})
            for name in COUNTED:
                setattr(self, name, numbers[name])
            self.resumed += 1
            self.stopwatch.seconds, self.whole.seconds = numbers["seconds"]
        return numbers["epoch"]

    def finished(self, model: Classifier, rule: EarlyStop) -> bool:
        """The stop test after an epoch; outside the unlearning time. Keeps the accuracy seen.

        Class removal: forget accuracy < `forget_target`, and of poisoned images the accuracy
        on their wrong label. Otherwise: forget accuracy < the original's accuracy on unseen images
        (duck.md §2, step 5), in sub-class removal on those of the sub-class.
        """
        if rule.stop == "never":
            return False
        with self.stopwatch.paused():
            seen = accuracy(model, self.train, self.indices("forget"))
        self.history.append(seen)
        if self.samples:
            self.stopped = seen < self.reference[rule.stop]
        else:
            self.stopped = seen < rule.forget_target
        if self.stopped and self._loop is not None:
            self._save(self._loop, self._loop.count)
        return self.stopped

    def check(self, loss: torch.Tensor) -> None:
        """Raise Diverged if the loss, a scalar, is not finite."""
        if not torch.isfinite(loss):
            raise Diverged(f"the loss is {loss.item()} after {self.updates} updates")

    def step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        """One descent on `loss`, counted in `updates`; Diverged if the loss is not finite."""
        self.check(loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        self.updates += 1


def frozen_copy(model: Classifier) -> Classifier:
    """A copy in evaluation mode whose weights take no gradient: a teacher."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def untrained_copy(model: Classifier, generator: torch.Generator) -> Classifier:
    """A copy with the weights and statistics of a new network, drawn from `generator`."""
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        for module in twin.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return twin


class OptimizerSettings(Strict):
    """Settings of the methods that take plain SGD."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float = Field(gt=0)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> SGD:
        """SGD of these settings on the parameters."""
        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)


class SgdSettings(EarlyStop, OptimizerSettings):
    """Settings of `descend`: the learning rate halves at each milestone, in epochs."""

    milestones: list[int]


Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""A scalar loss from normalised images [B, C, H, W], labels [B] and positions [B] in the part."""


def descend(
    model: Classifier, problem: Problem, settings: SgdSettings, part: str, loss_of: Loss
) -> Classifier:
    """Epochs of SGD on `loss_of` over one part, the model in training mode.

    The learning rate halves at each milestone; the stop test comes after each epoch.
    """
    optimizer = settings.optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=0.5)
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer, schedule):
        for images, labels, positions in problem.batches(part, settings.batch_size):
            problem.step(optimizer, loss_of(images, labels, positions))
        if problem.finished(model, settings):
            break
        schedule.step()
    return model
