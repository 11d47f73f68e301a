"""NegGrad+: its loss, and whole runs of a linear classifier written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlearning.methods import negative_gradient_plus
from unlearning.models.base import Classifier

BASE = {
    "beta": 0.8,
    "epochs": 3,
    "batch_size": 10,
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "milestones": [1],
    "stop": "never",
    "forget_target": 0.01,
}
CASES = [(1,), (0, 2), ()]


def settings(**changes):
    return negative_gradient_plus.Settings(**{**BASE, **changes})


def error_of(images, labels, weight, bias):
    """Gradient of the summed cross-entropy for each image's logits."""
    scores = (images @ weight.T + bias).exp()
    error = scores / scores.sum(1, keepdim=True)
    for row, label in enumerate(labels.tolist()):
        error[row, label] -= 1
    return error


def run_by_hand(model, data, problem, beta=0.8, sign=-1.0, pooled=False, cycle=False, epochs=3):
    """SGD with the gradient in closed form.

    The generator draws as the method does: the order of D_r at the beginning of an epoch,
    that of D_f when its last pass has run out. pooled: one mean over both batches; cycle:
    the first order of D_f again and again, as `itertools.cycle` does.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    weight, bias = (p.detach().clone() for p in (model.head.weight, model.head.bias))
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]

    def shuffled(indices):
        return list(indices[torch.randperm(len(indices), generator=generator)].split(10))

    waiting, first = [], None
    for epoch in range(epochs):
        for part in shuffled(problem.retain):
            if not waiting:
                waiting = list(first) if cycle and first else shuffled(problem.forget)
                first = first or list(waiting)
            gradients = torch.zeros_like(weight), torch.zeros_like(bias)
            other = waiting.pop(0)
            for chosen, share in ((part, beta), (other, sign * (1 - beta))):
                images, labels = data.batch(chosen)
                images = images.flatten(1)
                error = error_of(images, labels, weight, bias) * share
                error = error / (len(part) + len(other) if pooled else len(chosen))
                gradients = gradients[0] + error.T @ images, gradients[1] + error.sum(0)
            gradients = [g + 0.01 * w for g, w in zip(gradients, (weight, bias), strict=True)]
            moved = [0.9 * m + g for m, g in zip(moved, gradients, strict=True)]
            lr = 0.05 if epoch < 1 else 0.025
            weight, bias = weight - lr * moved[0], bias - lr * moved[1]
    return weight, bias


def gap(model, by_hand) -> float:
    weight, bias = by_hand
    return max(
        (model.head.weight - weight).abs().max().item(), (model.head.bias - bias).abs().max().item()
    )


@pytest.fixture
def linear(make_images, make_problem):
    def make(**case):
        data = make_images(double=True)
        torch.manual_seed(0)
        model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
        return data, model, make_problem(data, **case)

    return make


@pytest.mark.parametrize("forget_classes", CASES)
def test_a_run_equals_the_reference_by_hand(linear, forget_classes):
    data, model, problem = linear(forget_classes=forget_classes)
    expected = run_by_hand(model, data, problem)
    negative_gradient_plus.unlearn(model, problem, settings())
    assert gap(model, expected) < 1e-10
    assert problem.updates == 3 * -(-len(problem.retain) // 10)


@pytest.mark.parametrize(
    "mistake",
    [{"sign": 1.0}, {"beta": 0.2}, {"beta": 1.0}, {"pooled": True}, {"cycle": True}],
    ids=["sign", "weights swapped", "no forgetting", "one mean over both", "cycled batches"],
)
def test_a_wrong_reference_gives_other_weights(linear, mistake):
    data, model, problem = linear()
    wrong = run_by_hand(model, data, problem, **mistake)
    negative_gradient_plus.unlearn(model, problem, settings())
    assert gap(model, wrong) > 1e-6


def test_beta_of_one_is_fine_tuning_and_of_zero_a_climb():
    retain, forget = torch.tensor(2.0), torch.tensor(3.0)
    assert negative_gradient_plus.balance(retain, forget, 1.0) == 2
    assert negative_gradient_plus.balance(retain, forget, 0.0) == -3
    assert negative_gradient_plus.balance(retain, forget, 0.5) == -0.5


def test_the_forget_set_may_be_larger_than_the_retained_one(linear):
    _, model, problem = linear(forget_classes=(), forget=40)
    negative_gradient_plus.unlearn(model, problem, settings(epochs=1))
    assert problem.updates == 1  # eight retained images, one step
