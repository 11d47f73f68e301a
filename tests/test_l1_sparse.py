"""ℓ1-sparse unlearning against SGD written out for a linear classifier."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from unlearning.methods import l1_sparse
from unlearning.methods.l1_sparse import Settings, l1_norm, strength
from unlearning.models.base import Classifier

SETTINGS = {"epochs": 4, "batch_size": 1000, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
GAMMA = 0.02


def descend_by_hand(model, batches, gammas, penalised=("weight", "bias"), subgradient=torch.sign):
    """SGD on cross-entropy plus γ_e ‖θ‖₁, both gradients in closed form."""
    theta = {key: p.detach().clone() for key, p in model.head.named_parameters()}
    moved = {key: torch.zeros_like(p) for key, p in theta.items()}
    for (x, labels), gamma in zip(batches, gammas, strict=True):
        scores = (x @ theta["weight"].T + theta["bias"]).exp()
        error = scores / scores.sum(1, keepdim=True)
        error[torch.arange(len(labels)), labels] -= 1
        error /= len(x)
        gradients = {"weight": error.T @ x, "bias": error.sum(0)}
        for key, p in theta.items():
            if key in penalised:
                gradients[key] = gradients[key] + gamma * subgradient(p)
            moved[key] = 0.9 * moved[key] + gradients[key] + 0.01 * p
        theta = {key: p - 0.05 * moved[key] for key, p in theta.items()}
    return theta


def gap(model, theta) -> float:
    return max((p - theta[key]).abs().max() for key, p in model.head.named_parameters()).item()


def test_a_whole_run_equals_sgd_by_hand(make_images, make_problem):
    data = make_images(double=True)
    torch.manual_seed(0)
    model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
    problem = make_problem(data, touches={"retain"})
    found = l1_sparse.unlearn(copy.deepcopy(model), problem, Settings(gamma=GAMMA, **SETTINGS))
    images, labels = data.batch(problem.retain)
    batches = [(images.flatten(1), labels)] * 4
    right = [0.02, 0.015, 0.01, 0.005]
    assert problem.updates == 4
    assert gap(found, descend_by_hand(model, batches, right)) < 1e-12

    everything = [(data.batch(torch.arange(48))[0].flatten(1), data.labels)] * 4
    wrong = [
        descend_by_hand(model, batches, [0.0] * 4),
        descend_by_hand(model, batches, [-g for g in right]),
        descend_by_hand(model, batches, [0.02] * 4),
        descend_by_hand(model, batches, [0.02, 0.02 * 2 / 3, 0.02 / 3, 0.0]),
        descend_by_hand(model, batches, right, penalised=("weight",)),
        descend_by_hand(model, batches, right, subgradient=lambda p: 2 * p),
        descend_by_hand(model, batches, [g / 260 for g in right]),
        descend_by_hand(model, everything, right),
    ]
    assert all(gap(found, other) > 1e-6 for other in wrong)


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_the_penalty_starts_whole_and_falls_by_equal_steps(epochs):
    values = [strength(0.3, epoch, epochs) for epoch in range(epochs)]
    assert values[0] == 0.3 and values[-1] == pytest.approx(0.3 / epochs)
    assert strength(0.3, epochs, epochs) == 0
    falls = [a - b for a, b in itertools.pairwise(values)]
    assert falls == pytest.approx([0.3 / epochs] * (epochs - 1))


def test_the_norm_counts_every_parameter_once(make_cnn):
    model = make_cnn()
    by_hand = sum(abs(v) for p in model.parameters() for v in p.flatten().tolist())
    assert l1_norm(model).item() == pytest.approx(by_hand, rel=1e-6)


def test_the_penalty_is_one_value_an_epoch_and_thins_the_weights(
    make_images, make_cnn, make_problem
):
    norms = {}
    for gamma in (0.0, 0.01):
        problem = make_problem(make_images(), touches={"retain"})
        settings = Settings(gamma=gamma, **(SETTINGS | {"batch_size": 8}))
        norms[gamma] = l1_norm(l1_sparse.unlearn(make_cnn(), problem, settings)).item()
        assert problem.updates == 4 * 5
    assert norms[0.01] < 0.9 * norms[0.0]
