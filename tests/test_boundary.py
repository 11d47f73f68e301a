"""Boundary Shrink and Boundary Expanding: attack, neighbours, heads, and runs by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unlearning.data.batches import Images
from unlearning.methods import boundary_expanding, boundary_shrink
from unlearning.methods.base import NotDefined
from unlearning.models.base import Classifier

BASE = {"epochs": 3, "batch_size": 1000, "lr": 0.3, "momentum": 0.9, "weight_decay": 0.01}
BASE |= {"milestones": [2], "stop": "never", "forget_target": 0.01}
ONE_AND_TWO = pytest.mark.parametrize("forget_classes", [(1,), (0, 2)], ids=["one", "two"])


def shrink(**changes):
    return boundary_shrink.Settings(**BASE | {"epsilon": 0.1} | changes)


def expanding(**changes):
    return boundary_expanding.Settings(**BASE | changes)


@pytest.fixture
def linear(make_images, make_problem):
    """A linear classifier in float64, whose gradients have a closed form."""

    def make(forget_classes, classes=4):
        data = make_images(size=8, double=True)
        torch.manual_seed(0)
        model = Classifier(nn.Flatten(), nn.Linear(64, classes)).double()
        return data, model, make_problem(data, forget_classes=forget_classes, touches=("forget",))

    return make


def sgd_by_hand(weight, bias, rows, labels, momentum=0.9, weight_decay=0.01, lr=0.3):
    """Three full-batch steps on the cross-entropy, the third at half the learning rate."""
    weight, bias = weight.detach().clone(), bias.detach().clone()
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(3):
        gradients = [torch.zeros_like(weight), torch.zeros_like(bias)]
        for x, label in zip(rows, labels, strict=True):
            raised = (weight @ x + bias).exp()
            error = raised / raised.sum()
            error[label] -= 1
            gradients[0] += torch.outer(error, x) / len(rows)
            gradients[1] += error / len(rows)
        for k, theta in enumerate((weight, bias)):
            moved[k] = momentum * moved[k] + gradients[k] + weight_decay * theta
            theta -= lr * (1.0 if step < 2 else 0.5) * moved[k]
    return weight, bias


def largest_gap(head, by_hand) -> float:
    weight, bias = by_hand
    return max((head.weight - weight).abs().max().item(), (head.bias - bias).abs().max().item())


# --- Boundary Shrink ---


def neighbours_by_hand(
    model, data, problem, sign=1, scale="pixel", clamp=True, banned="all", epsilon=0.1
):
    """y' by loops in pixel scale: the gradient of the CE by x is W^T (p - onehot)."""
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    found = []
    for i in problem.forget.tolist():
        pixels, label = data.images[i].double() / 255, int(data.labels[i])
        mean, std = data.mean.double().view(-1, 1, 1), data.std.double().view(-1, 1, 1)
        x = ((pixels - mean) / std).flatten()
        raised = (weight @ x + bias).exp()
        error = raised / raised.sum()
        error[label] -= 1
        way = sign * (weight.T @ error).sign().view_as(pixels)
        pixels = pixels + epsilon * (way if scale == "pixel" else way * std)
        pixels = pixels.clamp(0, 1) if clamp else pixels
        logits = (weight @ ((pixels - mean) / std).flatten() + bias).tolist()
        out = {"all": {label, *problem.forget_classes}, "own": {label}, "none": set()}[banned]
        found.append(max((z, k) for k, z in enumerate(logits) if k not in out)[1])
    return found


@ONE_AND_TWO
def test_a_run_of_shrink_equals_the_reference_written_by_hand(linear, forget_classes):
    data, model, problem = linear(forget_classes)
    found = boundary_shrink.unlearn(copy.deepcopy(model), problem, shrink())
    images, labels = data.batch(problem.forget)
    rows, start = images.flatten(1), (model.head.weight, model.head.bias)
    targets = neighbours_by_hand(model, data, problem)
    assert problem.updates == 3
    assert largest_gap(found.head, sgd_by_hand(*start, rows, targets)) < 1e-10
    wrong = [
        sgd_by_hand(*start, rows, labels.tolist()),
        sgd_by_hand(*start, rows, targets, momentum=0.0),
        sgd_by_hand(*start, rows, targets, weight_decay=0.0),
        sgd_by_hand(*start, rows, neighbours_by_hand(model, data, problem, sign=-1)),
        sgd_by_hand(*start, rows, neighbours_by_hand(model, data, problem, sign=-1, banned="none")),
    ]
    if len(forget_classes) > 1:
        own = neighbours_by_hand(model, data, problem, banned="own")
        wrong.append(sgd_by_hand(*start, rows, own))
    assert all(largest_gap(found.head, other) > 1e-4 for other in wrong)


@pytest.mark.parametrize("batch_size", [1000, 5, 1])
@ONE_AND_TWO
def test_neighbours_do_not_depend_on_the_batches(linear, forget_classes, batch_size):
    data, model, problem = linear(forget_classes)
    found = boundary_shrink.neighbours(model, problem, shrink(batch_size=batch_size)).tolist()
    assert found == neighbours_by_hand(model, data, problem)
    assert not set(found) & set(forget_classes)


def test_the_attack_moves_by_epsilon_in_pixels_and_stays_among_valid_pixels(make_model):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = 0, 255
    mean, std = torch.tensor([0.4, 0.5, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    labels = torch.arange(6) % 4
    data = Images(pixels, labels, mean, std)
    model = make_model(pixels=192)
    images, _ = data.batch(torch.arange(6))
    before = images.clone()
    moved = boundary_shrink.attack(model, data, images, labels, 0.1)
    assert torch.equal(images, before) and not moved.requires_grad
    assert all(weight.grad is None for weight in model.parameters())
    back = moved * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    change = back - pixels / 255
    assert back.min() > -1e-6 and back.max() < 1 + 1e-6
    assert change.abs().max() < 0.1 + 1e-6
    inner = (pixels / 255 > 0.1) & (pixels / 255 < 0.9)
    assert torch.allclose(change[inner].abs(), torch.tensor(0.1), atol=1e-5)
    loss = torch.nn.functional.cross_entropy
    assert loss(model(moved), labels) > loss(model(before), labels)
    in_normalised_scale = moved - before
    assert in_normalised_scale[:, 0].abs().max() > 0.45  # 0.1 / 0.2, not 0.1


@pytest.mark.parametrize(
    ("epsilon", "mistakes"),
    [
        (0.1, [{"scale": "normalised"}, {"clamp": False}, {"sign": -1}]),
        (0.01, [{"banned": "none"}]),  # many attacks fail, and the largest logit is the true class
    ],
)
def test_each_mistake_gives_some_image_another_neighbour(
    epsilon, mistakes, make_images, make_problem
):
    data = make_images(count=400, double=True)
    torch.manual_seed(0)
    model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
    problem = make_problem(data, touches=("forget",))
    found = boundary_shrink.neighbours(model, problem, shrink(epsilon=epsilon)).tolist()
    assert found == neighbours_by_hand(model, data, problem, epsilon=epsilon)
    for mistake in mistakes:
        other = neighbours_by_hand(model, data, problem, epsilon=epsilon, **mistake)
        assert found != other, mistake


def test_looking_for_neighbours_leaves_statistics_and_gradients_alone(
    make_images, make_cnn, make_problem
):
    model, problem = make_cnn(), make_problem(make_images(), touches=("forget",))
    before = copy.deepcopy(model.state_dict())
    boundary_shrink.neighbours(model, problem, shrink())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


# --- Boundary Expanding ---


@ONE_AND_TWO
def test_a_run_of_expanding_equals_the_reference_written_by_hand(linear, forget_classes):
    data, model, problem = linear(forget_classes)
    found = boundary_expanding.unlearn(copy.deepcopy(model), problem, expanding())
    generator = torch.Generator().manual_seed(problem.seed)
    drawn = (2 * torch.rand(65, generator=generator) - 1).double() / 8
    weight = torch.cat([model.head.weight, drawn[None, :64]])
    bias = torch.cat([model.head.bias, drawn[64:]])
    images, labels = data.batch(problem.forget)
    rows = images.flatten(1)
    assert problem.updates == 3

    def by_hand(weight, bias, targets, **changes):
        trained = sgd_by_hand(weight, bias, rows, targets, **changes)
        return trained[0][:4], trained[1][:4]

    shadow = [4] * len(rows)
    assert largest_gap(found.head, by_hand(weight, bias, shadow)) < 1e-10
    wrong = [
        by_hand(weight, bias, labels.tolist()),
        by_hand(weight, bias, [3] * len(rows)),
        by_hand(weight, bias, shadow, momentum=0.0),
        by_hand(torch.cat([model.head.weight, drawn[None, 1:]]), bias, shadow),
    ]
    assert all(largest_gap(found.head, other) > 1e-4 for other in wrong)


def test_the_backbone_trains_along_with_the_head(make_images, make_model, make_problem):
    """One step of the whole network against autograd of -log softmax written out."""
    data, model = make_images(double=True), make_model(double=True)
    problem = make_problem(data, touches=("forget",))
    settings = expanding(epochs=1, weight_decay=0.0)
    found = boundary_expanding.unlearn(copy.deepcopy(model), problem, settings)
    generator = torch.Generator().manual_seed(problem.seed)
    wide = boundary_expanding.widened(model.head, generator)
    theta = [*model.backbone.parameters(), wide.weight, wide.bias]
    images, _ = data.batch(problem.forget)
    logits = torch.tanh(images.flatten(1) @ theta[0].T + theta[1]) @ theta[2].T + theta[3]
    loss = sum(row.exp().sum().log() - row[4] for row in logits) / len(logits)
    gradients = torch.autograd.grad(loss, theta)
    stepped = [t.detach() - 0.3 * g for t, g in zip(theta, gradients, strict=True)]
    stepped[2:] = [t[:4] for t in stepped[2:]]
    for parameter, expected in zip(found.parameters(), stepped, strict=True):
        assert (parameter - expected).abs().max() < 1e-10
    assert (found.backbone[1].weight - model.backbone[1].weight).abs().max() > 1e-4


def test_widening_and_narrowing_a_head_gives_it_back(make_cnn):
    head = make_cnn().head
    before = copy.deepcopy(head.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    wide = boundary_expanding.widened(head, torch.Generator().manual_seed(0))
    again = boundary_expanding.widened(head, torch.Generator().manual_seed(0))
    other = boundary_expanding.widened(head, torch.Generator().manual_seed(1))
    assert torch.equal(state, torch.get_rng_state())
    assert wide.weight.shape == (5, 72) and wide.bias.shape == (5,)
    assert torch.equal(wide.weight, again.weight) and not torch.equal(wide.weight, other.weight)
    assert torch.equal(wide.weight[:4], head.weight) and torch.equal(wide.bias[:4], head.bias)
    new = torch.cat([wide.weight[4], wide.bias[4:]]).detach()
    assert 0.8 / 72**0.5 < new.abs().max() <= 1 / 72**0.5
    narrow = boundary_expanding.narrowed(wide)
    assert narrow.weight.requires_grad and narrow.weight.is_leaf
    assert narrow.out_features == 4 and narrow.in_features == 72
    with torch.no_grad():
        wide.weight.zero_()
    assert all(torch.equal(before[key], tensor) for key, tensor in narrow.state_dict().items())
    assert all(torch.equal(before[key], tensor) for key, tensor in head.state_dict().items())


def test_what_comes_back_fits_where_the_original_fits(make_images, make_cnn, make_problem):
    model, problem = make_cnn(), make_problem(make_images(), touches=("forget",))
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    found = boundary_expanding.unlearn(model, problem, expanding(epochs=1))
    assert {key: tensor.shape for key, tensor in found.state_dict().items()} == shapes
    make_cnn(seed=1).load_state_dict(found.state_dict())


def test_expanding_has_no_stop_test(make_images, make_model, make_problem):
    with pytest.raises(ValueError, match="stop"):
        expanding(stop="test")


# --- both ---


@pytest.mark.parametrize(
    ("module", "settings"), [(boundary_shrink, shrink), (boundary_expanding, expanding)]
)
def test_neither_is_defined_in_homogeneous_removal(
    module, settings, make_images, make_model, make_problem
):
    problem = make_problem(make_images(), forget_classes=(), touches=("forget",))
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(NotDefined, match="boundary_"):
        module.unlearn(model, problem, settings())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert problem.updates == 0
