"""Amnesiac relabelling: who may get which label, joint batches, and a run by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unlearning.methods import amnesiac
from unlearning.models.base import Classifier

BASE = {"epochs": 2, "batch_size": 7, "lr": 0.3, "momentum": 0.9, "weight_decay": 0.01}
CASES = {"one class": (1,), "two classes": (0, 2), "homogeneous": ()}


def run_by_hand(model, data, problem, generator, redrawn=False, kept=True, momentum=0.9):
    """Weight and bias of a linear classifier after SGD, gradients in closed form.

    The new label of a sample is the allowed class with the largest of K uniform numbers.
    """
    weight, bias = (p.detach().clone() for p in (model.head.weight, model.head.bias))
    everything, known = data.batch(torch.arange(len(data)))
    forget = problem.forget.tolist()
    new = dict(zip(forget, draw_by_hand(forget, known, problem, generator), strict=True))
    joint = problem.retain.tolist() + forget
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for _ in range(BASE["epochs"]):
        if redrawn:
            other = torch.Generator().manual_seed(1)
            new = dict(zip(forget, draw_by_hand(forget, known, problem, other), strict=True))
        order = torch.randperm(len(joint), generator=generator).tolist()
        for start in range(0, len(order), BASE["batch_size"]):
            gradients = [torch.zeros_like(weight), torch.zeros_like(bias)]
            batch = [joint[i] for i in order[start : start + BASE["batch_size"]]]
            for i in batch:
                x = everything[i].flatten()
                error = torch.softmax(weight @ x + bias, 0)
                if i in new or kept:
                    error[new.get(i, int(known[i]))] -= 1
                gradients[0] += torch.outer(error, x) / len(batch)
                gradients[1] += error / len(batch)
            for k, theta in enumerate((weight, bias)):
                moved[k] = momentum * moved[k] + gradients[k] + 0.01 * theta
                theta -= BASE["lr"] * moved[k]
    return weight, bias


def draw_by_hand(forget, known, problem, generator):
    scores = torch.rand(len(forget), problem.classes, generator=generator).tolist()
    found = []
    for i, row in zip(forget, scores, strict=True):
        banned = {int(known[i]), *problem.forget_classes}
        found.append(max((s, k) for k, s in enumerate(row) if k not in banned)[1])
    return found


def largest_gap(model, by_hand) -> float:
    weight, bias = by_hand
    return max(
        (model.head.weight - weight).abs().max().item(), (model.head.bias - bias).abs().max().item()
    )


@pytest.mark.parametrize("case", CASES)
def test_a_run_equals_the_reference_written_by_hand(case, make_images, make_problem):
    data = make_images(double=True)
    torch.manual_seed(0)
    model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
    problem = make_problem(data, forget_classes=CASES[case])
    found = amnesiac.unlearn(copy.deepcopy(model), problem, amnesiac.Settings(**BASE))
    assert problem.updates == 2 * 7

    def by_hand(**changes):
        generator = torch.Generator().manual_seed(problem.seed)
        return run_by_hand(model, data, problem, generator, **changes)

    assert largest_gap(found, by_hand()) < 1e-10
    for mistake in ({"redrawn": True}, {"kept": False}, {"momentum": 0.0}):
        assert largest_gap(found, by_hand(**mistake)) > 1e-4


@pytest.mark.parametrize("forget_classes", [(), (1,), (0, 2)])
def test_new_labels_are_uniform_over_what_a_sample_may_be(forget_classes):
    labels = torch.tensor(forget_classes or (0, 1, 2, 3)).repeat_interleave(20_000)
    generator = torch.Generator().manual_seed(0)
    drawn = amnesiac.relabelled(labels, 4, forget_classes, generator)
    for label in labels.unique().tolist():
        counts = torch.bincount(drawn[labels == label], minlength=4)
        allowed = [k for k in range(4) if k != label and k not in forget_classes]
        share = 1 / len(allowed)
        noise = (20_000 * share * (1 - share)) ** 0.5
        for k in range(4):
            expected = 20_000 * share * (k in allowed)
            assert abs(counts[k] - expected) <= 4 * noise * (k in allowed)


class Reader:
    """Passes `Images` on and keeps the positions of each batch."""

    def __init__(self, data):
        self.data, self.read = data, []

    def __getattr__(self, name):
        return getattr(self.data, name)

    def batch(self, indices):
        self.read.append(indices.tolist())
        return self.data.batch(indices)

    def batches(self, chunks):
        return map(self.batch, chunks)


def test_each_epoch_is_one_shuffled_pass_over_both_parts_together(
    make_images, make_model, make_problem
):
    problem = make_problem(make_images(), forget_classes=(1,))
    problem.train = Reader(problem.train)
    amnesiac.unlearn(make_model(), problem, amnesiac.Settings(**BASE))
    first, second = problem.train.read[:7], problem.train.read[7:]
    assert first != second
    for batches in (first, second):
        assert sorted(i for batch in batches for i in batch) == list(range(48))
    forget = set(problem.forget.tolist())
    mixed = [0 < len(forget & set(batch)) < len(batch) for batch in first + second]
    assert sum(mixed) > 10
