"""DUCK with one choice of its loss changed at a time: what each of them is worth.

The switches (all off, this is `duck`, bit for bit; Ψ, μ, d and the two terms as there):

    target        nearest | farthest | random: which incorrect centroid a forgotten image is
                  sent to; random is uniform over the incorrect ones, drawn once an image
    centroids     fixed | moving: moving takes, at each step, the means of the current
                  embeddings of the retained batch, no gradient through them, over the classes
                  in it, and looks the targets up anew from the forgotten batch's embeddings
    distance      cosine | euclidean: d(u, v) = ‖u − v‖₂ in the assignment and in the loss
    retain_share  the share in (0, 1] of the retained images that is used at all, for centroids
                  and for steps: a random subset, drawn once
    statistics    all | retained: whose images BatchNorm's running statistics, by which the
                  unlearned model normalises, are of. DUCK's see forgotten and retained batches
                  in turn, half and half whatever their shares of the data; with `retained`
                  forgotten batches are normalised by themselves as before and not counted

With moving centroids an image is not pulled in a step whose retained batch has no class but its
own; the mean runs over the images that are. Weights of the loss, temperature and R are settings
of `duck` itself.

Touches: retain, forget. As `duck` otherwise; the ablations are this project's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch.nn.functional import cross_entropy, normalize
from torch.nn.modules.batchnorm import _BatchNorm

from unlearning.data.batches import index_batches
from unlearning.methods import duck
from unlearning.methods.base import Problem
from unlearning.models.base import Classifier
from unlearning.training.loop import embed
from unlearning.training.optim import Adam

TOUCHES = frozenset({"retain", "forget"})
BATCHES = {"batch_size": "forget"}


class Settings(duck.Settings):
    """DUCK's settings and the switches."""

    target: Literal["nearest", "farthest", "random"]
    centroids: Literal["fixed", "moving"]
    distance: Literal["cosine", "euclidean"]
    retain_share: float = Field(gt=0, le=1)
    statistics: Literal["all", "retained"]

    @model_validator(mode="after")
    def _random_is_fixed(self) -> Settings:
        if self.target == "random" and self.centroids == "moving":
            raise ValueError(
                "target: random is drawn once an image, and a moving centroid may be absent "
                "from a batch; use it with centroids: fixed"
            )
        return self


def distances(embeddings: torch.Tensor, centres: torch.Tensor, kind: str) -> torch.Tensor:
    """[N, R] from embeddings [N, D] and centres [R, D]: cosine in [0, 2], or euclidean."""
    if kind == "cosine":
        return 1 - normalize(embeddings) @ normalize(centres).T
    return torch.cdist(embeddings, centres, compute_mode="donot_use_mm_for_euclid_dist")


def assign(
    distance: torch.Tensor, incorrect: torch.Tensor, target: str, generator: torch.Generator
) -> torch.Tensor:
    """The row of the centroid [N] that each sample is sent to, by distance [N, R].

    incorrect: bool [N, R], the rows of other classes than the sample's own. A tie goes to the
    lowest row. Only `random` draws from `generator`.
    """
    if target == "random":
        cost = torch.rand(distance.shape, generator=generator).to(distance.device)
    else:
        cost = distance if target == "nearest" else -distance
    return cost.masked_fill(~incorrect, torch.inf).argmin(1)


def pull(embeddings: torch.Tensor, targets: torch.Tensor, kind: str) -> torch.Tensor:
    """Mean distance of embeddings [B, D] to their targets [B, D]; 0 where there is none."""
    if not len(embeddings):
        return embeddings.sum()
    if kind == "cosine":
        return duck.forget_loss(embeddings, targets)
    return (embeddings - targets).norm(dim=1).mean()


@contextmanager
def statistics_kept(model: Classifier) -> Iterator[None]:
    """BatchNorm normalises by the batch, as in training, and leaves its running statistics."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def unlearn(model: Classifier, problem: Problem, settings: Settings) -> Classifier:
    """Run DUCK on `model` in place with the switches of `settings`."""
    run = _Run(model, problem, settings)
    optimizer = Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=0.5)
    model.train()
    for _ in problem.epochs(settings.epochs, model, optimizer, schedule):
        for forget in problem.batches("forget", settings.batch_size):
            for retain in islice(run.retain_batches(), settings.batch_ratio):
                problem.step(optimizer, run.loss(forget, retain))
        if problem.finished(model, settings):
            break
        schedule.step()
    return model


class _Run:
    """One run: the retained images that it uses and, where they are fixed, the targets."""

    def __init__(self, model: Classifier, problem: Problem, settings: Settings) -> None:
        self.model, self.problem, self.settings = model, problem, settings
        self.retain = self._share(problem.indices("retain"))
        self.fixed = self._fixed_targets() if settings.centroids == "fixed" else None

    def _share(self, retain: torch.Tensor) -> torch.Tensor:
        """The positions that are used; all of them, and nothing drawn, if the share is 1."""
        share = self.settings.retain_share
        if share == 1:
            return retain
        order = torch.randperm(len(retain), generator=self.problem.generator)
        return retain[order[: max(1, round(share * len(retain)))].to(retain.device)]

    def _fixed_targets(self) -> torch.Tensor:
        """The centroid [D] that each sample to forget is moved to, from the original: [F, D]."""
        problem, classes = self.problem, self.problem.retained_classes
        forget, labels = problem.indices("forget"), problem.train.labels
        kept = embed(self.model, problem.train, self.retain)
        centres = duck.centroids(kept, labels[self.retain], classes)
        embeddings = embed(self.model, problem.train, forget)
        rows, _ = self._assigned(embeddings, labels[forget], centres, classes)
        return centres[rows].clone()

    def _assigned(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        centres: torch.Tensor,
        classes: list[int],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The row of each sample's target [N], and whether it has one [N]."""
        incorrect = labels[:, None] != torch.tensor(classes, device=labels.device)
        distance = distances(embeddings, centres, self.settings.distance)
        rows = assign(distance, incorrect, self.settings.target, self.problem.generator)
        return rows, incorrect.any(1)

    def retain_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One shuffled pass over the retained images in use: images and labels."""
        size, generator = self.settings.batch_size, self.problem.generator
        batches = index_batches(len(self.retain), size, generator)
        kept = (self.retain[positions.to(self.retain.device)] for positions in batches)
        return self.problem.train.batches(kept)

    def loss(self, forget: tuple, retain: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """L for one step; forget: images, labels, positions; retain: images and labels."""
        model, settings = self.model, self.settings
        images, labels, positions = forget
        uncounted = settings.statistics == "retained"
        with statistics_kept(model) if uncounted else nullcontext():
            embeddings = model.embed(images)
        kept = model.embed(retain[0])
        if self.fixed is None:
            embeddings, targets = self._moving(embeddings, labels, kept.detach(), retain[1])
        else:
            targets = self.fixed[positions]
        logits = model.head(model.dropout(kept)) / settings.temperature
        keep = cross_entropy(logits, retain[1], label_smoothing=settings.label_smoothing)
        forgotten = pull(embeddings, targets, settings.distance)
        return settings.lambda_forget * forgotten + settings.lambda_retain * keep

    def _moving(
        self,
        embeddings: torch.Tensor,
        labels: torch.Tensor,
        kept: torch.Tensor,
        kept_labels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The embeddings that are pulled in this step, and the centroid that each goes to."""
        classes = kept_labels.unique().tolist()
        centres = duck.centroids(kept, kept_labels, classes)
        rows, pulled = self._assigned(embeddings.detach(), labels, centres, classes)
        return embeddings[pulled], centres[rows[pulled]]


def images(settings: Mapping[str, Any], forget: int, retain: int) -> float:
    """Images that train the model at most, a forward pass counted as a third (see `methods`)."""
    return duck.images(settings, forget, retain)
