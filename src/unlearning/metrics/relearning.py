"""Relearn time: how many steps on the forgotten images a model needs to know them again.

Few steps mean that the images were hidden, not forgotten; the oracle, which never saw them,
gives the number to compare with (anamnesis index, Chundawat et al. 2023, arXiv 2201.05629).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch.nn.functional import cross_entropy

from unlearning.data.batches import Images, index_batches
from unlearning.metrics import Unmeasurable
from unlearning.models.base import Classifier
from unlearning.training.loop import predict
from unlearning.training.optim import SGD

MOMENTUM = 0.9
ROUNDING = 1e-6  # 0.95 of 20 images are 19, whatever the product of the floats is
CHUNK = 50


def relearn_steps(
    model: Classifier,
    data: Images,
    forget: torch.Tensor,
    target: float,
    seed: int,
    batch_size: int = 64,
    lr: float = 2e-3,
    max_steps: int = 100,
    evaluated: int = 500,
) -> int:
    """SGD steps that a copy of `model` needs until its accuracy on `forget` is >= `target`.

    forget: int64 [F] with F > 0, positions in `data`; target: a fraction in [0, 1], usually
    the original's accuracy on `forget` less 0.05. A step is one batch of cross-entropy with
    momentum 0.9, constant `lr`, no weight decay and no augmentation; each pass over `forget`
    is shuffled. The accuracy, on at most `evaluated` of the images, is taken before each
    step, so 0 means that they are known already. The result is censored at `max_steps`:
    that value means `max_steps` or more.

    The copy trains in evaluation mode: batches of one class would replace the statistics of
    BatchNorm by that class's, which changes the model without any learning. The same seed
    gives the same steps, and `model` is left as it was. Raises ValueError for an empty
    `forget` or a target outside [0, 1].
    """
    if len(forget) == 0 or not 0 <= target <= 1:
        raise ValueError(
            f"relearning needs forgotten images and a target in [0, 1], got {len(forget)} images "
            f"and {target!r}"
        )
    twin = copy.deepcopy(model).eval()
    generator = torch.Generator().manual_seed(seed)
    watched = forget[torch.randperm(len(forget), generator=generator)[:evaluated]]
    batches = _batches(forget, batch_size, generator)
    optimizer = SGD(twin.parameters(), lr=lr, momentum=MOMENTUM)
    for step in range(max_steps):
        if knows(twin, data, watched, target):
            return step
        images, labels = data.batch(next(batches))
        optimizer.zero_grad()
        cross_entropy(twin(images), labels).backward()
        optimizer.step()
    return max_steps


def knows(model: Classifier, data: Images, indices: torch.Tensor, target: float) -> bool:
    """Whether the accuracy on `indices` [N] is >= `target`, a fraction in [0, 1].

    Looks at no more images than decide it: long before the target most are still wrong.
    Raises Unmeasurable if a logit is not finite: the first such class would count as the answer.
    """
    needed = math.ceil((target - ROUNDING) * len(indices))
    right = wrong = 0
    for chunk in indices.split(CHUNK):
        logits = predict(model, data, chunk)
        if not torch.isfinite(logits).all():
            raise Unmeasurable("relearning diverged: logits are not finite")
        hits = int((logits.argmax(1) == data.labels[chunk]).sum())
        right, wrong = right + hits, wrong + len(chunk) - hits
        if right >= needed or wrong > len(indices) - needed:
            break
    return right >= needed


def _batches(
    forget: torch.Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Shuffled batches of `forget`, pass after pass without an end."""
    while True:
        for positions in index_batches(len(forget), batch_size, generator):
            yield forget[positions]
