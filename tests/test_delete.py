"""DELETE: the mask, the divergence, and whole runs against loops in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from unlearning.methods import delete
from unlearning.models.base import Classifier

BASE = {"epochs": 3, "batch_size": 1000, "lr": 0.5, "momentum": 0.9, "weight_decay": 0.01}
BASE |= {"milestones": [2], "stop": "never", "forget_target": 0.01}
CASES = {"one class": (1,), "two classes": (0, 2), "homogeneous": ()}


def run_by_hand(model, data, problem, hidden="own and forgotten", forward=True, **changes):
    """Head weights and bias of a linear classifier after full-batch SGD on the KL, by loops.

    The gradient of KL(t || p) by the logits is p - t; that of KL(p || t) is not defined where
    t = 0, so `forward=False` takes the distance of logits instead, as another plausible loss.
    """
    chosen = BASE | changes
    weight, bias = (p.detach().clone() for p in (model.head.weight, model.head.bias))
    images, labels = data.batch(problem.forget)
    rows = images.flatten(1)
    forgotten = {"own": (), "none": ()}.get(hidden, problem.forget_classes)
    targets = []
    for x, label in zip(rows, labels.tolist(), strict=True):
        logits = [float(x @ w + b) for w, b in zip(weight, bias, strict=True)]
        gone = set(forgotten) | (set() if hidden == "none" else {label})
        raised = [0.0 if k in gone else math.exp(z) for k, z in enumerate(logits)]
        targets.append(torch.tensor([r / sum(raised) for r in raised], dtype=torch.float64))
    targets = torch.stack(targets)
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for epoch in range(chosen["epochs"]):
        logits = rows @ weight.T + bias
        p = logits.exp() / logits.exp().sum(1, keepdim=True)
        error = (p - targets if forward else targets - p) / len(rows)
        gradients = [error.T @ rows, error.sum(0)]
        lr = chosen["lr"] * 0.5 ** sum(m <= epoch for m in chosen["milestones"])
        for k, theta in enumerate((weight, bias)):
            moved[k] = chosen["momentum"] * moved[k] + gradients[k] + 0.01 * theta
            theta -= lr * moved[k]
    return weight, bias


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
    problem = make_problem(data, forget_classes=CASES[case], touches=("forget",))
    found = delete.unlearn(copy.deepcopy(model), problem, delete.Settings(**BASE))
    assert problem.updates == 3
    assert largest_gap(found, run_by_hand(model, data, problem)) < 1e-10
    wrong = [
        run_by_hand(model, data, problem, hidden="none"),
        run_by_hand(model, data, problem, forward=False),
        run_by_hand(model, data, problem, momentum=0.0),
        run_by_hand(model, data, problem, milestones=[]),
    ]
    if case == "two classes":
        wrong.append(run_by_hand(model, data, problem, hidden="own"))
    assert all(largest_gap(found, other) > 1e-4 for other in wrong)


def test_small_batches_look_up_the_targets_of_their_own_images(
    make_images, make_model, make_problem
):
    """Targets by autograd from a second copy of the model, in the order the batches come."""
    data, model = make_images(double=True), make_model(double=True)
    settings = delete.Settings(**BASE | {"batch_size": 5, "epochs": 2})
    problem = make_problem(data, forget_classes=(), touches=("forget",))
    found = delete.unlearn(copy.deepcopy(model), problem, settings)
    generator = torch.Generator().manual_seed(problem.seed)
    student, moved = copy.deepcopy(model), [0.0] * 4
    for _ in range(2):
        for positions in torch.randperm(12, generator=generator).split(5):
            images, labels = data.batch(problem.forget[positions])
            p = model(images).softmax(1).detach().clone()
            for row, label in enumerate(labels.tolist()):
                p[row, label] = 0
            t = p / p.sum(1, keepdim=True)
            q = student(images).softmax(1)
            loss = sum((t[i, k] * (t[i, k] / q[i, k]).log()) for i, k in t.nonzero()) / len(t)
            gradients = torch.autograd.grad(loss, list(student.parameters()))
            with torch.no_grad():
                for k, (theta, g) in enumerate(zip(student.parameters(), gradients, strict=True)):
                    moved[k] = 0.9 * moved[k] + g + 0.01 * theta
                    theta -= 0.5 * moved[k]
    pairs = list(zip(found.parameters(), student.parameters(), strict=True))
    assert max((a - b).abs().max().item() for a, b in pairs) < 1e-10


def test_the_mask_hides_the_own_class_and_the_forgotten_ones():
    scores = torch.arange(12.0).view(3, 4)
    labels = torch.tensor([0, 3, 1])
    hidden = delete.masked(scores, labels, ()).isinf()
    assert hidden.tolist() == torch.nn.functional.one_hot(labels, 4).bool().tolist()
    hidden = delete.masked(scores, labels, (1, 2)).isinf()
    assert hidden.int().tolist() == [[1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 0]]
    kept = ~hidden
    assert torch.equal(delete.masked(scores, labels, (1, 2))[kept], scores[kept])


def test_the_divergence_is_zero_at_the_target_alone_and_averages_over_samples():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    targets = logits.softmax(1)
    assert delete.divergence(logits, targets).abs() < 1e-15
    other = logits.roll(1, 0)
    assert delete.divergence(other, targets) > 0.1
    twice = delete.divergence(torch.cat([other, other]), torch.cat([targets, targets]))
    assert torch.isclose(twice, delete.divergence(other, targets))


def test_what_is_kept_keeps_the_originals_ratios(make_images, make_model, make_problem):
    """A long run on a network that can fit the targets ends at them."""
    data = make_images(count=8, double=True)
    model = make_model(width=40, double=True)
    problem = make_problem(data, forget_classes=(1,), touches=("forget",))
    changes = {"epochs": 3000, "lr": 0.3, "weight_decay": 0.0, "milestones": []}
    found = delete.unlearn(copy.deepcopy(model), problem, delete.Settings(**BASE | changes))
    images, _ = data.batch(problem.forget)
    before, after = model(images).softmax(1), found(images).softmax(1)
    assert after[:, 1].max() < 1e-3
    kept = [0, 2, 3]
    expected = before[:, kept] / before[:, kept].sum(1, keepdim=True)
    assert (after[:, kept] - expected).abs().max() < 1e-2
