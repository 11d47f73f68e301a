"""UNSIR: the noise, the subset, and whole runs of a linear classifier written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlearning.methods import unsir
from unlearning.methods.base import NotDefined
from unlearning.models.base import Classifier

BASE = {
    "noise_images": 3,
    "noise_steps": 4,
    "noise_lr": 0.1,
    "noise_penalty": 0.05,
    "noise_copies": 2,
    "retain_per_class": 5,
    "batch_size": 8,
    "lr_impair": 0.02,
    "lr_repair": 0.01,
    "repair_epochs": 2,
}


def settings(**changes) -> unsir.Settings:
    return unsir.Settings(**{**BASE, **changes})


class AdamByHand:
    """Adam on a list of tensors, written out."""

    def __init__(self, tensors, lr):
        self.tensors, self.lr, self.count = tensors, lr, 0
        self.first = [torch.zeros_like(t) for t in tensors]
        self.second = [torch.zeros_like(t) for t in tensors]

    def step(self, gradients):
        self.count += 1
        for k, g in enumerate(gradients):
            self.first[k] = 0.9 * self.first[k] + 0.1 * g
            self.second[k] = 0.999 * self.second[k] + 0.001 * g * g
            m = self.first[k] / (1 - 0.9**self.count)
            v = self.second[k] / (1 - 0.999**self.count)
            self.tensors[k] = self.tensors[k] - self.lr * m / (v.sqrt() + 1e-8)


def error_of(images, labels, weight, bias):
    """Gradient of the mean cross-entropy for the logits."""
    scores = (images @ weight.T + bias).exp()
    error = scores / scores.sum(1, keepdim=True)
    for row, label in enumerate(labels):
        error[row, int(label)] -= 1
    return error / len(images)


def run_by_hand(model, data, problem, chosen, *, sign=-1.0, label_zero=False, one_adam=False):
    """The weights of a linear classifier after impair and repair.

    label_zero: all noise is labelled 0, as in the authors' notebook; one_adam: repair goes
    on with the moments of impair.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    weights = [p.detach().clone() for p in (model.head.weight, model.head.bias)]
    pool = []
    for c in problem.forget_classes:
        start = torch.randn(chosen.noise_images, 1, 12, 12, generator=generator).double()
        adam = AdamByHand([start.flatten(1)], chosen.noise_lr)
        for _ in range(chosen.noise_steps):
            (noise,) = adam.tensors
            error = error_of(noise, [c] * len(noise), *weights)
            pull = 2 * chosen.noise_penalty * noise / len(noise)
            adam.step([sign * error @ weights[0] + pull])
        pool += [(image, 0 if label_zero else c) for image in adam.tensors[0]]
    pool = pool * chosen.noise_copies
    order = torch.randperm(len(problem.retain), generator=generator)
    subset = []
    for c in problem.retained_classes:
        mine = [int(problem.retain[i]) for i in order if data.labels[problem.retain[i]] == c]
        subset += mine[: chosen.retain_per_class]
    kept = []
    for index in subset:
        images, labels = data.batch(torch.tensor([index]))
        kept.append((images.flatten(), int(labels)))
    adam = AdamByHand(weights, chosen.lr_impair)
    for lr, epochs, samples in (
        (chosen.lr_impair, 1, pool + kept),
        (chosen.lr_repair, chosen.repair_epochs, kept),
    ):
        if one_adam:
            adam.lr = lr
        else:
            adam = AdamByHand(adam.tensors, lr)
        for _ in range(epochs):
            order = torch.randperm(len(samples), generator=generator)
            for chunk in order.split(chosen.batch_size):
                batch = [samples[i] for i in chunk.tolist()]
                images = torch.stack([image for image, _ in batch])
                error = error_of(images, [label for _, label in batch], *adam.tensors)
                adam.step([error.T @ images, error.sum(0)])
    return adam.tensors


def gap(model, by_hand) -> float:
    pairs = zip((model.head.weight, model.head.bias), by_hand, strict=True)
    return max((found - expected).abs().max().item() for found, expected in pairs)


@pytest.fixture
def linear(make_images, make_problem):
    def make(**case):
        data = make_images(double=True)
        torch.manual_seed(0)
        model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
        return data, model, make_problem(data, touches=("retain",), **case)

    return make


@pytest.mark.parametrize("forget_classes", [(1,), (0, 2)], ids=["class", "classes"])
def test_a_run_equals_the_reference_by_hand(linear, forget_classes):
    data, model, problem = linear(forget_classes=forget_classes)
    expected = run_by_hand(model, data, problem, settings())
    unsir.unlearn(model, problem, settings())
    assert gap(model, expected) < 1e-9
    kept, noise = 5 * (4 - len(forget_classes)), 6 * len(forget_classes)
    assert problem.updates == -(-(kept + noise) // 8) + 2 * -(-kept // 8)


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({}, {"sign": 1.0}),
        ({}, {"label_zero": True}),
        ({}, {"one_adam": True}),
        ({"noise_penalty": 0.0}, {}),
        ({"noise_copies": 1}, {}),
        ({"noise_steps": 3}, {}),
        ({"lr_repair": 0.02}, {}),
    ],
    ids=["noise descends", "all labelled 0", "one Adam", "penalty", "copies", "steps", "repair lr"],
)
def test_a_wrong_reference_gives_other_weights(linear, changes, mistake):
    data, model, problem = linear()
    wrong = run_by_hand(model, data, problem, settings(**changes), **mistake)
    unsir.unlearn(model, problem, settings())
    assert gap(model, wrong) > 1e-5


def test_learned_noise_is_wrong_for_its_class_and_leaves_the_model_alone(
    make_images, make_cnn, make_problem
):
    problem = make_problem(make_images(), forget_classes=(0, 2), touches=("retain",))
    model = make_cnn()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    first, labels = unsir._learn_noise(model, problem, settings(noise_steps=1, noise_lr=1e-9))
    problem = make_problem(make_images(), forget_classes=(0, 2), touches=("retain",))
    noise, _ = unsir._learn_noise(model, problem, settings(noise_steps=30))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert labels.tolist() == [0] * 3 + [2] * 3 and noise.shape == (6, 1, 12, 12)
    assert not noise.requires_grad
    with torch.no_grad():
        own = [nn.functional.cross_entropy(model.eval()(x), labels) for x in (first, noise)]
    assert own[1] > own[0]


def test_noise_loss_by_hand():
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    noise = torch.ones(2, 1, 2, 2)
    found = unsir.noise_loss(logits, torch.tensor([0, 1]), noise, 0.5)
    assert float(found) == pytest.approx(0.5 * 4 - 0.6931472)


def test_the_subset_has_so_many_of_each_class_or_all_of_a_small_one():
    labels = torch.tensor([3] * 10 + [5] * 2 + [7] * 10)
    indices = torch.arange(22) + 100
    found = unsir.subset(indices, labels, 4, torch.Generator().manual_seed(0))
    classes = labels[found - 100]
    assert len(set(found.tolist())) == len(found) == 10
    assert [int((classes == c).sum()) for c in (3, 5, 7)] == [4, 2, 4]
    other = unsir.subset(indices, labels, 4, torch.Generator().manual_seed(1))
    assert set(other.tolist()) != set(found.tolist())


def test_it_is_not_defined_for_homogeneous_removal(linear):
    _, model, problem = linear(forget_classes=())
    with pytest.raises(NotDefined, match="UNSIR"):
        unsir.unlearn(model, problem, settings())
