"""DUCK as people write it: DataLoaders, a frozen original beside the model, torch's Adam."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from ordinary import accuracy, loader
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset

from unlearning.data.batches import index_batches
from unlearning.methods.duck import Settings


@dataclass(frozen=True)
class SameOrder:
    """A batch sampler that draws as `Problem.batches` does: lists of positions in the data."""

    part: torch.Tensor
    batch_size: int
    generator: torch.Generator

    def __iter__(self) -> Iterator[list[int]]:
        for positions in index_batches(len(self.part), self.batch_size, self.generator):
            yield self.part[positions].tolist()


@torch.no_grad()
def class_centroids(
    original: nn.Sequential, batches: DataLoader, classes: list[int], device: str
) -> torch.Tensor:
    """Mean embedding of each class [len(classes), D], by a pass over the retained images."""
    found = [(original.backbone(x.to(device)), labels.to(device)) for x, labels in batches]
    embeddings, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return torch.stack([embeddings[labels == c].mean(0) for c in classes])


@torch.no_grad()
def wrong_centroids(
    original: nn.Sequential,
    images: torch.Tensor,
    labels: torch.Tensor,
    centres: torch.Tensor,
    classes: list[int],
) -> torch.Tensor:
    """The nearest centroid of another class [B, D] for each image, by the frozen original."""
    embeddings = original.backbone(images)
    distances = 1 - cosine_similarity(embeddings[:, None], centres[None], dim=2)
    own = labels[:, None] == torch.tensor(classes, device=labels.device)
    return centres[distances.masked_fill(own, float("inf")).argmin(1)]


def unlearn(
    model: nn.Sequential,
    images: Dataset,
    retain: torch.Tensor,
    forget: torch.Tensor,
    classes: list[int],
    settings: Settings,
    generator: torch.Generator,
    device: str = "cpu",
    workers: int = 0,
) -> int:
    """Class removal on `model` in place; returns the updates.

    images: normalised images and labels; retain, forget: positions in them, on the CPU.
    classes: those that stay. workers: of each DataLoader, started anew for each pass.
    """
    original = copy.deepcopy(model).eval()
    centroid_loader, stop_loader = (
        loader(Subset(images, part.tolist()), workers, device, batch_size=settings.batch_size)
        for part in (retain, forget)
    )
    forget_loader, retain_loader = (
        loader(
            images, workers, device, batch_sampler=SameOrder(part, settings.batch_size, generator)
        )
        for part in (forget, retain)
    )
    centres = class_centroids(original, centroid_loader, classes, device)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, settings.milestones, gamma=0.5)
    updates = 0
    for _ in range(settings.epochs):
        model.train()
        for x_forget, y_forget in forget_loader:
            x_forget, y_forget = x_forget.to(device), y_forget.to(device)
            targets = wrong_centroids(original, x_forget, y_forget, centres, classes)
            for x_retain, y_retain in islice(retain_loader, settings.batch_ratio):
                x_retain, y_retain = x_retain.to(device), y_retain.to(device)
                pull = (1 - cosine_similarity(model.backbone(x_forget), targets)).mean()
                logits = model(x_retain) / settings.temperature
                keep = cross_entropy(logits, y_retain, label_smoothing=settings.label_smoothing)
                loss = settings.lambda_forget * pull + settings.lambda_retain * keep
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                updates += 1
        if accuracy(model, stop_loader, device) < settings.forget_target:
            break
        schedule.step()
    return updates
