"""Training and evaluation as people write them: a DataLoader, transforms an image, one process."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from here import CORES
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from unlearning.data.batches import Images
from unlearning.models.base import Classifier
from unlearning.runtime.vision import torchvision


class ImageFolderInMemory(Dataset):
    """Like torchvision's CIFAR10: arrays [H, W, C], each made a PIL image and transformed."""

    def __init__(self, data: Images, transform) -> None:
        pixels = data.images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        self.pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        self.targets = data.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(np.ascontiguousarray(self.pixels[index]))
        return self.transform(image), self.targets[index]


def dataset(data: Images, crop: int = 0, flip: bool = False) -> ImageFolderInMemory:
    """`data` with torchvision's transforms; crop: pixels of padding, 0 for none."""
    t = torchvision().transforms
    steps = [t.RandomCrop(data.images.shape[-1], padding=crop)] if crop else []
    steps += [t.RandomHorizontalFlip()] if flip else []
    steps += [t.ToTensor(), t.Normalize(data.mean.tolist(), data.std.tolist())]
    return ImageFolderInMemory(data, t.Compose(steps))


def loader(images: Dataset, workers: int, device: str, **options) -> DataLoader:
    """A DataLoader; its workers fork, which is Linux's default up to Python 3.13."""
    forks = "fork" if workers else None  # a spawned process would pass on `spawn`
    pinned = device == "cuda"
    return DataLoader(
        images, num_workers=workers, multiprocessing_context=forks, pin_memory=pinned, **options
    )


def workers(device: str) -> int:
    """Processes of an ordinary DataLoader: 2, for a GPU as many as cores up to 8."""
    return min(CORES, 8) if device == "cuda" else 2


def strided_cnn(channels: int, width: int = 16) -> nn.Sequential:
    """Strided convolution, BatchNorm and ReLU three times, pooled to 3 x 3 and flattened."""
    layers: list[nn.Module] = []
    shapes = ((channels, width, 4, 1), (width, 2 * width, 3, 1), (2 * width, 4 * width, 3, 0))
    for inputs, outputs, kernel, padding in shapes:
        layers += [nn.Conv2d(inputs, outputs, kernel, 2, padding, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten())


def resnet18(small_stem: bool) -> nn.Module:
    """torchvision's ResNet-18 without its head; small_stem: 3 x 3, stride 1, no max-pool."""
    model = torchvision().models.resnet18()
    model.fc = nn.Identity()
    if small_stem:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


def twin(arch: str, ours: Classifier) -> nn.Sequential:
    """The plain model with the weights of `ours`, contiguous in memory: `backbone`, `head`.

    The tensors of both state dicts correspond in order; another shape is an error.
    """
    channels = next(p for p in ours.parameters() if p.dim() == 4).shape[1]
    small_stem = arch == "resnet18_3x3"
    backbone = strided_cnn(channels) if arch == "strided_cnn" else resnet18(small_stem)
    head = nn.Linear(ours.head.in_features, ours.head.out_features)
    model = nn.Sequential(OrderedDict(backbone=backbone, head=head))
    weights = [tensor.contiguous() for tensor in ours.state_dict().values()]
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    return model


def train_epoch(model: nn.Module, batches: DataLoader, optimizer, device: str) -> float:
    """One epoch; returns the mean loss."""
    model.train()
    running = 0.0
    for images, labels in batches:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(images)
    return running / len(batches.dataset)


@torch.no_grad()
def accuracy(model: nn.Module, batches: DataLoader, device: str) -> float:
    """The share of images whose label has the largest logit."""
    model.eval()
    correct = total = 0
    for images, labels in batches:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        correct += (model(images).argmax(1) == labels).sum().item()
        total += len(labels)
    return correct / total
