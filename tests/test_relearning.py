"""Relearning against a model whose steps can be counted by hand, and what it must not touch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unlearning.data.batches import Images
from unlearning.metrics import relearning
from unlearning.metrics.relearning import relearn_steps
from unlearning.models.base import Classifier
from unlearning.training.loop import accuracy


def bias_model(*bias: float) -> Classifier:
    """Zero weights: on images equal to the mean, only the biases move."""
    head = nn.Linear(4, len(bias))
    nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor(bias)
    return Classifier(nn.Flatten(), head)


def mean_images(labels: list[int]) -> Images:
    grey = torch.full((len(labels), 1, 2, 2), 102, dtype=torch.uint8)  # 102 / 255 = 0.4
    return Images(grey, torch.tensor(labels), torch.tensor([0.4]), torch.tensor([0.3]))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # A step adds 2 lr = 1 times the momentum's sum m <- 0.9 m + p to the logit gap, with
        # p = 1 / (1 + exp(gap)) the probability of the wrong class.
        (0.5, 0),
        (-0.5, 1),  # +0.62 makes 0.12
        (-2.4, 2),  # +0.917 makes -1.48, +1.640 makes 0.16
        (-20.0, 7),  # p = 1 at first: -19, -17.1, -14.39, -10.95, -6.86, -2.17, then 2.9
    ],
)
def test_the_steps_of_a_single_gap_are_counted_by_hand(start, expected, batch_size):
    data, forget = mean_images([1] * 7 + [0] * 3), torch.arange(7)
    found = relearn_steps(bias_model(0.0, start), data, forget, 1.0, 0, batch_size, lr=0.5)
    assert found == expected


def test_the_result_is_censored_at_max_steps():
    data, forget, model = mean_images([1] * 7), torch.arange(7), bias_model(0.0, -20.0)
    assert relearn_steps(model, data, forget, 1.0, 0, lr=0.5, max_steps=7) == 7
    assert relearn_steps(model, data, forget, 1.0, 0, lr=0.5, max_steps=6) == 6
    assert relearn_steps(model, data, forget, 1.0, 0, lr=1e-9, max_steps=12) == 12


def test_a_target_that_is_met_exactly_needs_no_step():
    data, model = mean_images([0] * 9 + [1]), bias_model(1.0, 0.0)
    assert accuracy(model, data) == 0.9
    assert relearn_steps(model, data, torch.arange(10), 0.9, 0) == 0
    assert relearn_steps(model, data, torch.arange(10), 0.91, 0, lr=1e-9, max_steps=3) == 3


@pytest.fixture
def case(make_images, make_cnn):
    """A network with BatchNorm that does not know the images at `forget` yet."""
    data = make_images(count=40)
    forget = (data.labels == 2).nonzero().flatten()
    return make_cnn(seed=4), data, forget


def test_it_learns_mixed_classes_and_a_lower_target_needs_fewer_steps(case):
    model, data, _ = case
    forget = torch.arange(14)
    assert accuracy(model, data, forget) < 0.3
    steps = [relearn_steps(model, data, forget, t, 3, 4, lr=0.05) for t in (0.2, 0.4, 0.6)]
    assert 0 == steps[0] < steps[1] < steps[2] < 100


def test_the_given_model_is_untouched(case):
    model, data, forget = case
    model.train()
    before = copy.deepcopy(model.state_dict())
    assert relearn_steps(model, data, forget, 1.0, 3, 4, lr=0.01) > 1
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_seed_decides_the_batches_and_the_result(case, watch):
    model, data, forget = case
    asked, steps = [], []
    for seed in (3, 3, 4):
        seen = watch(data)
        torch.manual_seed(len(steps))  # the global generator has no say
        steps.append(relearn_steps(model, seen, forget, 1.0, seed, 4, lr=0.01))
        asked.append(seen.images.asked)
    assert asked[0] == asked[1]
    assert steps[0] == steps[1]
    assert asked[0] != asked[2]


def test_only_forgotten_images_are_read_and_each_pass_takes_all_of_them(case, watch):
    model, data, forget = case
    seen = watch(data)
    relearn_steps(model, seen, forget, 1.0, 3, 4, lr=1e-9, max_steps=6)
    batches = seen.images.asked[1::2]  # every other reading is an evaluation
    assert [len(batch) for batch in batches] == [4, 4, 2] * 2
    first, second = ([*a, *b, *c] for a, b, c in (batches[:3], batches[3:]))
    assert sorted(first) == sorted(second) == forget.tolist()
    assert first != second


def test_the_accuracy_is_on_at_most_the_evaluated_images_drawn_once(case, monkeypatch):
    model, data, forget = case
    seen = []

    def watched(twin, data, indices, target):
        seen.append(indices.tolist())
        return False

    monkeypatch.setattr(relearning, "knows", watched)
    relearn_steps(model, data, forget, 1.0, 3, 4, lr=1e-9, max_steps=2, evaluated=6)
    relearn_steps(model, data, forget, 1.0, 3, 4, lr=1e-9, max_steps=2, evaluated=500)
    assert [len(set(indices)) for indices in seen] == [6, 6, 10, 10]
    assert seen[0] == seen[1]
    assert set(seen[0]) < set(seen[2]) == set(forget.tolist())
    assert seen[0] != forget[:6].tolist()  # a sample: `forget` is sorted


def test_it_trains_in_evaluation_mode():
    class Strict(Classifier):
        def forward(self, images):
            assert not self.training
            assert not any(module.training for module in self.modules())
            return super().forward(images)

    plain = bias_model(0.0, -20.0)
    model = Strict(plain.backbone, plain.head, head_dropout=0.9).train()
    assert relearn_steps(model, mean_images([1] * 7), torch.arange(7), 1.0, 0, lr=0.5) == 7


@pytest.mark.parametrize(("count", "target"), [(0, 0.5), (7, 88.0), (7, -0.1), (7, float("nan"))])
def test_what_cannot_be_relearned_is_refused(count, target):
    with pytest.raises(ValueError, match=r"forgotten images and a target in \[0, 1\]"):
        relearn_steps(bias_model(0.0, 1.0), mean_images([1] * 7), torch.arange(count), target, 0)
