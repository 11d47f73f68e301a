"""DUCK as the authors' public code behaves: each departure from the algorithm a switch.

The switches, with the number of each departure in `paper/DEVIATIONS.md`, and what they mean
when on (all off, this is `duck`, bit for bit):

    targets = released  (D1, D5, D9)  epoch 1 looks the targets up anew at each step, from the
                        current embeddings in training mode, and appends them to a list; later
                        epochs read entry b for batch b, which was made for batch 0 at step b
    shuffle_forget off  (D2)  the forget set in its own order; the first release shuffled it
    extra_step          (D3)  R + 1 updates a batch, and one more forward pass of both batches
    row_for_label       (D4)  a centroid's row number is compared with the label
    centroid_batches    (D6)  centroids from so many retained batches; 0 means from all
    drop_last           (D7)  homogeneous removal: incomplete batches are not learned from, nor
                        do they count among `centroid_batches`
    second_phase        (D8, D10, D11)  two more epochs with forget and retain in one batch

The second phase: a fresh Adam at 0.0001 with the same weight decay, cosine over 2 · 20 · (forget
batches) steps whatever their number, L = CE(Γ(Ψ) / T, y) + λ_fgt / 10 · L_FGT, retained batches
of 512, incomplete ones dropped. Class removal: the first forget batch beside each retained
batch; homogeneous removal: each forget batch beside twenty of them. No stop test.

Touches: retain, forget. Departs from the release: it also leaves the dropped images out of the
evaluation, which is common to all methods here; where a list entry is longer than the batch
(class removal keeps the last, shorter batch) its first targets are taken; a part with fewer
images than one batch is one batch, where the release's loader has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from unlearning.data.batches import index_batches
from unlearning.methods import duck
from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.training.loop import embed
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "forget"}

SECOND_EPOCHS, SECOND_LR, SECOND_BATCH, SECOND_RATIO, SECOND_SHARE = 2, 0.0001, 512, 20, 0.1


class Settings(duck.Settings):
    """DUCK's settings and the switches."""

    targets: Literal["fixed", "released"]
    shuffle_forget: bool
    extra_step: bool
    row_for_label: bool
    centroid_batches: int = Field(ge=0)
    drop_last: bool
    second_phase: bool


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run DUCK on `model` in place with the switches of `settings`."""
    run = _Run(model, problem, settings)
    run.first_phase()
    if settings.second_phase and settings.lambda_forget > 0 and settings.lambda_retain > 0:
        run.second_phase()
    return model


class _Run:
    """One run: the centroids, the fixed targets, and the list that the release keeps."""

    def __init__(self, model: Classifier, problem: Problem, settings: Settings) -> None:
        self.model, self.problem, self.settings = model, problem, settings
        self.drop_last = settings.drop_last and problem.samples
        classes = problem.retained_classes
        self.rows = list(range(len(classes))) if settings.row_for_label else classes
        forget = problem.indices("forget")
        self.labels = problem.train.labels[forget]
        self.centres = self._centroids(classes)
        self.fixed = self._nearest(embed(model, problem.train, forget), self.labels)
        self.entries = problem.keep("targets")

    def _centroids(self, classes: list[int]) -> torch.Tensor:
        """[R, D] from all retained data or from the first batches, in evaluation mode."""
        problem, settings = self.problem, self.settings
        kept = problem.indices("retain")
        if settings.centroid_batches:
            batches = index_batches(len(kept), settings.batch_size, problem.generator)
            batches = _complete(batches, settings.batch_size) if self.drop_last else batches
            first = torch.cat(batches[: settings.centroid_batches])
            kept = kept[first.to(kept.device)]
        labels = problem.train.labels[kept]
        return duck.centroids(embed(self.model, problem.train, kept), labels, classes)

    def _nearest(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The centroid [B, D] that each embedding [B, D] is sent to."""
        found = duck.nearest_incorrect(embeddings, labels, self.centres, self.rows)
        return self.centres[found].clone()

    def _forget_batches(self, size: int) -> list[torch.Tensor]:
        """Positions of one pass over the forget set."""
        generator = self.problem.generator if self.settings.shuffle_forget else None
        batches = index_batches(len(self.labels), size, generator)
        return _complete(batches, size) if self.drop_last else batches

    def _retain_batches(self, size: int, drop_last: bool):
        for images, labels, _ in self.problem.batches("retain", size):
            if not drop_last:
                yield images, labels
            elif len(labels) >= size or len(self.problem.retain) < size:
                yield images[:size], labels[:size]

    def _targets(self, positions, embeddings, number: int, anew: bool) -> torch.Tensor:
        """Targets of a batch: fixed, or the release's: looked up anew and kept, or entry b."""
        if self.settings.targets == "fixed":
            return self.fixed[positions]
        if anew:
            self.entries.append(self._nearest(embeddings.detach(), self.labels[positions]))
            return self.entries[-1]
        entry = self.entries[number]
        return entry[torch.arange(len(positions), device=entry.device) % len(entry)]

    def first_phase(self) -> None:
        """Epochs of R steps a forget batch until the stop test passes."""
        model, problem, settings = self.model, self.problem, self.settings
        optimizer = Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=0.5)
        steps = settings.batch_ratio + settings.extra_step
        model.train()
        for epoch in problem.epochs(settings.epochs, model, optimizer, schedule):
            for number, positions in enumerate(self._forget_batches(settings.batch_size)):
                images, _ = problem.train.batch(problem.indices("forget")[positions])
                retain = self._retain_batches(settings.batch_size, self.drop_last)
                for step, kept in enumerate(islice(retain, steps + settings.extra_step)):
                    loss = self._loss(images, positions, kept, number, epoch == 0)
                    if step < steps:
                        problem.step(optimizer, loss)
            if problem.finished(model, settings):
                break
            schedule.step()

    def _loss(self, images, positions, kept, number: int, anew: bool) -> torch.Tensor:
        """DUCK's loss of one step; forget and retain pass the network one after the other."""
        embeddings = self.model.embed(images)
        targets = self._targets(positions, embeddings, number, anew)
        pull = duck.forget_loss(embeddings, targets)
        keep = self._retain_loss(self.model(kept[0]), kept[1])
        return self.settings.lambda_forget * pull + self.settings.lambda_retain * keep

    def _retain_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        smoothing = self.settings.label_smoothing
        return cross_entropy(logits / self.settings.temperature, labels, label_smoothing=smoothing)

    def second_phase(self) -> None:
        """Two epochs with forget and retain images in one batch."""
        model, problem, settings = self.model, self.problem, self.settings
        optimizer = Adam(model.parameters(), lr=SECOND_LR, weight_decay=settings.weight_decay)
        removal = problem.scenario == "class_removal"
        passes = self._forget_batches(settings.batch_size)
        span = 2 * SECOND_RATIO * len(passes)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=span)
        for _ in problem.epochs(SECOND_EPOCHS, model, optimizer, schedule):
            batches = self._forget_batches(settings.batch_size)
            for number, positions in enumerate(batches[:1] if removal else batches):
                images, _ = problem.train.batch(problem.indices("forget")[positions])
                retain = self._retain_batches(SECOND_BATCH, drop_last=True)
                for step, kept in enumerate(islice(retain, None if removal else SECOND_RATIO)):
                    both = model.embed(torch.cat([images, kept[0]]))
                    pulled, held = both[: len(images)], both[len(images) :]
                    targets = self._targets(positions, pulled, number, step == 0)
                    pull = duck.forget_loss(pulled, targets)
                    keep = self._retain_loss(model.head(held), kept[1])
                    loss = SECOND_SHARE * settings.lambda_forget * pull + keep
                    problem.step(optimizer, loss)
                    schedule.step()


def _complete(batches: list[torch.Tensor], size: int) -> list[torch.Tensor]:
    """The batches that are not short, or all of them if the first one already is.

    A last image that `index_batches` joined to the batch before it goes as well.
    """
    return [b[:size] for b in batches if len(b) >= size] or batches


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    steps = settings["batch_ratio"] + settings["extra_step"]
    first = duck.images({**settings, "batch_ratio": steps}, forget, retain)
    second = SECOND_EPOCHS * (retain + retain / SECOND_BATCH * settings["batch_size"])
    return first + settings["second_phase"] * second
