"""SCRUB: the divergence, its gradient, and whole runs written out by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from unlearning.methods import scrub
from unlearning.training.optim import SGD

BASE = {
    "alpha": 0.3,
    "gamma": 0.7,
    "temperature": 2.0,
    "epochs": 4,
    "max_steps": 2,
    "batch_size": 1000,
    "forget_batch_size": 1000,
    "lr": 0.2,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "milestones": [1],
    "decay": 0.5,
}
NAMES = ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]


def settings(**changes) -> scrub.Settings:
    return scrub.Settings(**{**BASE, **changes})


def largest_gap(a, b) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in NAMES)


# --- an independent SCRUB: gradients of the logits in closed form, loops over the layers ---


def probabilities(logits, temperature):
    weights = (logits / temperature).exp()
    return weights / weights.sum(1, keepdim=True)


def run_by_hand(model, data, problem, chosen, *, power=1, swap=False, order=("max", "min")):
    """The weights after all epochs, full batches. power: of T in the KL's gradient.

    d/dz of T² · KL(p ‖ softmax(z / T)) is T · (softmax(z / T) - p), hence power 1; without T²
    it is -1. swap: the KL of the student from the teacher, a plausible mistake.
    """
    weights = [model.state_dict()[name].clone() for name in NAMES]
    moved = [torch.zeros_like(w) for w in weights]
    batches = {"max": problem.forget, "min": problem.retain}
    data_of = {kind: data.batch(indices) for kind, indices in batches.items()}

    def forward(kind):
        hidden = torch.tanh(data_of[kind][0].flatten(1) @ weights[0].T + weights[1])
        return hidden, hidden @ weights[2].T + weights[3]

    teacher = {kind: probabilities(forward(kind)[1], chosen.temperature) for kind in batches}

    def pull(logits, target):
        student = probabilities(logits, chosen.temperature)
        if swap:
            ratio = (student / target).log()
            inner = (student * ratio).sum(1, keepdim=True)
            return chosen.temperature * student * (ratio - inner)
        return chosen.temperature**power * (student - target)

    for epoch in range(chosen.epochs):
        lr = chosen.lr * chosen.decay ** sum(m <= epoch for m in chosen.milestones)
        for kind in order:
            if kind == "max" and epoch >= chosen.max_steps:
                continue
            images, labels = data_of[kind]
            hidden, logits = forward(kind)
            error = pull(logits, teacher[kind])
            if kind == "max":
                error = -error
            else:
                truth = torch.zeros_like(logits)
                truth[range(len(labels)), labels] = 1
                error = chosen.alpha * error + chosen.gamma * (probabilities(logits, 1.0) - truth)
            error = error / len(images)
            back = (error @ weights[2]) * (1 - hidden**2)
            gradients = back.T @ images.flatten(1), back.sum(0), error.T @ hidden, error.sum(0)
            for k, gradient in enumerate(gradients):
                gradient = gradient + chosen.weight_decay * weights[k]
                moved[k] = chosen.momentum * moved[k] + gradient
            weights = [w - lr * m for w, m in zip(weights, moved, strict=True)]
    return dict(zip(NAMES, weights, strict=True))


@pytest.fixture
def double_problem(make_images, make_model, make_problem):
    def make(**options):
        data = make_images(double=True)
        return data, make_model(double=True), make_problem(data, **options)

    return make


@pytest.mark.parametrize("forget_classes", [(1,), (0, 2), ()], ids=["class", "classes", "random"])
@pytest.mark.parametrize("max_steps", [1, 2, 9])
def test_a_run_equals_the_reference_by_hand(double_problem, forget_classes, max_steps):
    data, model, problem = double_problem(forget_classes=forget_classes)
    chosen = settings(max_steps=max_steps)
    expected = run_by_hand(model, data, problem, chosen)
    scrub.unlearn(model, problem, chosen)
    assert largest_gap(expected, model.state_dict()) < 1e-10
    assert problem.updates == 4 + min(max_steps, 4)


WRONG = {
    "one max pass more": ({"max_steps": 3}, {}),
    "no temperature": ({"temperature": 1.0}, {}),
    "no T squared": ({}, {"power": -1}),
    "other direction of the KL": ({}, {"swap": True}),
    "min before max": ({}, {"order": ("min", "max")}),
    "no KL on D_r": ({"alpha": 0.0}, {}),
    "no milestone": ({"milestones": []}, {}),
    "no momentum": ({"momentum": 0.0}, {}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reference_gives_other_weights(double_problem, name):
    data, model, problem = double_problem()
    changes, options = WRONG[name]
    wrong = run_by_hand(model, data, problem, settings(**changes), **options)
    scrub.unlearn(model, problem, settings())
    assert largest_gap(wrong, model.state_dict()) > 1e-6


def test_small_batches_find_the_teacher_of_their_own_images(double_problem):
    """Each step in the order of the generator, the teacher asked anew at each of them."""
    data, model, problem = double_problem()
    chosen = settings(batch_size=8, forget_batch_size=5)
    teacher, student = copy.deepcopy(model), copy.deepcopy(model)
    optimizer = SGD(student.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    generator = torch.Generator().manual_seed(problem.seed)
    for epoch in range(chosen.epochs):
        optimizer.param_groups[0]["lr"] = 0.2 if epoch < 1 else 0.1
        passes = [(problem.forget, 5), (problem.retain, 8)][epoch >= 2 :]
        for indices, size in passes:
            for part in indices[torch.randperm(len(indices), generator=generator)].split(size):
                images, labels = data.batch(part)
                target = (teacher(images).detach() / 2).softmax(1)
                log_p = (student(images) / 2).log_softmax(1)
                divergence = 4 * (target * (target.log() - log_p)).sum(1).mean()
                if size == 5:
                    loss = -divergence
                else:
                    own = student(images).log_softmax(1)[range(len(labels)), labels]
                    loss = 0.3 * divergence - 0.7 * own.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    scrub.unlearn(model, problem, chosen)
    assert largest_gap(student.state_dict(), model.state_dict()) < 1e-10


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence_by_hand_and_zero_for_equals(temperature):
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    total = 0.0
    for z, t in zip(logits, teacher, strict=True):
        p, q = (t / temperature).exp(), (z / temperature).exp()
        p, q = p / p.sum(), q / q.sum()
        total += sum(float(a * (a / b).log()) for a, b in zip(p, q, strict=True))
    found = scrub.divergence(logits, teacher, temperature)
    assert float(found) == pytest.approx(temperature**2 * total / 5, rel=1e-12)
    assert float(scrub.divergence(logits, logits, temperature)) == pytest.approx(0, abs=1e-12)
    assert float(scrub.divergence(teacher, logits, temperature)) != pytest.approx(float(found))
    shifted = scrub.divergence(logits + 3, teacher - 2, temperature)
    assert float(shifted) == pytest.approx(float(found), rel=1e-10)


def test_divergence_stays_finite_where_probabilities_vanish():
    far = torch.tensor([[0.0, 500.0]])
    assert torch.isfinite(scrub.divergence(far, -far, 1.0))
