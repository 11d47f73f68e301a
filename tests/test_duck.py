"""DUCK: centroids, nearest wrong class, loss, whole updates, and when it stops."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from unlearning.methods import duck
from unlearning.models.base import Classifier

BASE = {
    "lambda_forget": 1.5,
    "lambda_retain": 0.7,
    "temperature": 2.0,
    "batch_ratio": 1,
    "batch_size": 1000,
    "lr": 0.01,
    "weight_decay": 0.0,
    "epochs": 1,
    "milestones": [],
    "label_smoothing": 0.0,
    "stop": "never",
    "forget_target": 0.01,
}


def settings(**changes) -> duck.Settings:
    return duck.Settings(**{**BASE, **changes})


def double(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- an independent DUCK: loops, plain formulas, Adam written out ---


def distance(u, v):
    return 1 - (u * v).sum() / (u.square().sum().sqrt() * v.square().sum().sqrt())


def is_its_class(row, label, classes):
    return classes[row] == label


def row_is_label(row, label, classes):
    """The released code's reading (duck.md, D4): the row number is compared with the label."""
    return row == label


def targets_by_loops(embeddings, labels, retain, forget, classes, own=is_its_class):
    centres = []
    for c in classes:
        members = [embeddings[i] for i in retain if labels[i] == c]
        centres.append(sum(members) / len(members))
    found = []
    for j in forget:
        wrong = [r for r in range(len(classes)) if not own(r, int(labels[j]), classes)]
        found.append(centres[min(wrong, key=lambda r: float(distance(embeddings[j], centres[r])))])
    return found


def cross_entropy_by_hand(logits, label, smoothing):
    log_p = logits - logits.exp().sum().log()
    return -(1 - smoothing) * log_p[label] - smoothing * log_p.mean()


def duck_by_hand(model, data, problem, chosen, own=is_its_class):
    """The weights after `epochs` updates on full batches."""
    names = ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]
    weights = [model.state_dict()[name].clone().requires_grad_() for name in names]
    images, labels = data.batch(torch.arange(len(data)))
    retain, forget = problem.retain.tolist(), problem.forget.tolist()

    def embeddings():
        return torch.tanh(images.flatten(1) @ weights[0].T + weights[1])

    with torch.no_grad():
        classes = problem.retained_classes
        targets = targets_by_loops(embeddings(), labels, retain, forget, classes, own)
    first = [torch.zeros_like(w) for w in weights]
    second = [torch.zeros_like(w) for w in weights]
    for step in range(1, chosen.epochs + 1):
        psi = embeddings()
        pull = sum(distance(psi[j], t) for j, t in zip(forget, targets, strict=True))
        logits = (psi @ weights[2].T + weights[3]) / chosen.temperature
        keep = sum(cross_entropy_by_hand(logits[i], labels[i], 0.1) for i in retain)
        total = chosen.lambda_forget * pull / len(forget)
        total = total + chosen.lambda_retain * keep / len(retain)
        lr = chosen.lr * 0.5 ** sum(m < step for m in chosen.milestones)
        for k, gradient in enumerate(torch.autograd.grad(total, weights)):
            g = gradient + chosen.weight_decay * weights[k].detach()
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g * g
            m, v = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
            with torch.no_grad():
                weights[k] -= lr * m / (v.sqrt() + 1e-8)
    return dict(zip(names, (w.detach() for w in weights), strict=True))


def largest_gap(a, b) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.fixture
def double_problem(make_images, make_model, make_problem):
    def make(**options):
        data = make_images(double=True)
        return data, make_model(double=True), make_problem(data, **options)

    return make


@pytest.mark.parametrize("forget_classes", [(1,), (0, 2), ()], ids=["class", "classes", "random"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_updates_equal_the_reference_written_by_hand(double_problem, forget_classes, epochs):
    data, model, problem = double_problem(forget_classes=forget_classes)
    chosen = settings(epochs=epochs, milestones=[1], weight_decay=0.01, label_smoothing=0.1)
    expected = duck_by_hand(model, data, problem, chosen)
    duck.unlearn(model, problem, chosen)
    assert largest_gap(expected, model.state_dict()) < 1e-10
    assert problem.updates == epochs


@pytest.mark.parametrize(
    ("change", "own"),
    [
        ({}, row_is_label),
        ({"temperature": 1.0}, is_its_class),
        ({"lambda_forget": 1.4}, is_its_class),
        ({"milestones": []}, is_its_class),
        ({"weight_decay": 0.0}, is_its_class),
    ],
    ids=["row is label", "temperature", "lambda", "milestone", "weight decay"],
)
def test_a_wrong_reference_gives_other_weights(double_problem, change, own):
    data, model, problem = double_problem()
    chosen = settings(epochs=3, milestones=[1], weight_decay=0.01, label_smoothing=0.1)
    wrong = duck_by_hand(model, data, problem, chosen.model_copy(update=change), own)
    duck.unlearn(model, problem, chosen)
    assert largest_gap(wrong, model.state_dict()) > 1e-6


# --- the nearest centroid of another class ---


def test_class_removal_finds_the_wrong_class_by_class_and_not_by_row():
    classes = [0, 1, 3]  # class 2 is removed, so row 2 is class 3
    sample, label = double([[0.1, 0.2, 1.0]]), torch.tensor([2])
    centres = torch.eye(3, dtype=torch.float64)
    assert duck.nearest_incorrect(sample, label, centres, classes).tolist() == [2]
    rows = [r for r in range(3) if not row_is_label(r, 2, classes)]
    assert min(rows, key=lambda r: float(distance(sample[0], centres[r]))) == 1


def test_no_sample_is_assigned_its_own_class():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 4, generator=generator)
    labels = torch.arange(600) % 6
    samples = centres[labels] + torch.randn(600, 4, generator=generator)
    rows = duck.nearest_incorrect(samples, labels, centres, list(range(6)))
    assert not (rows == labels).any()
    unmasked = torch.cosine_similarity(samples[:, None], centres[None], dim=2).argmax(1)
    assert (unmasked == labels).any()


def test_nearest_means_the_angle_and_not_the_length():
    centres = double([[100.0, 1.0], [0.5, 1.0], [1.0, 0.0]])
    sample = double([[1.0, 0.1]])
    assert duck.nearest_incorrect(sample, torch.tensor([2]), centres, [0, 1, 2]).tolist() == [0]
    assert torch.cdist(sample, centres)[0, :2].argmin() == 1


def test_a_tie_goes_to_the_lowest_class():
    centres = double([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    labels = torch.tensor([0, 1])
    samples = double([[0.0, 1.0], [0.0, 1.0]])
    rows = duck.nearest_incorrect(samples, labels, centres, [0, 1, 2, 3])
    assert rows.tolist() == [1, 2]


# --- centroids ---


def test_centroids_equal_an_explicit_loop():
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (40,), generator=generator)
    for row, c in enumerate(classes := [3, 0]):
        members = [e for e, y in zip(embeddings.tolist(), labels.tolist(), strict=True) if y == c]
        mean = [sum(column) / len(members) for column in zip(*members, strict=True)]
        found = duck.centroids(embeddings, labels, classes)[row]
        assert found.tolist() == pytest.approx(mean, abs=1e-14)


def test_a_class_without_a_sample_is_named():
    with pytest.raises(ValueError, match="class 7"):
        duck.centroids(torch.ones(2, 3), torch.tensor([0, 1]), [0, 1, 7])


# --- the loss ---


def test_forget_loss_equals_the_value_by_hand():
    embeddings, targets = double([[3.0, 4.0], [1.0, 0.0]]), double([[4.0, 3.0], [0.0, 2.0]])
    assert duck.forget_loss(embeddings, targets).item() == pytest.approx((1 / 25 + 1) / 2)


def test_loss_equals_the_value_by_hand():
    model = Classifier(nn.Identity(), nn.Linear(2, 2)).double()
    model.head.load_state_dict({"weight": double([[1, 2], [0, -1]]), "bias": double([0.5, 0])})
    forget = double([[3.0, 4.0]]), double([[4.0, 3.0]])
    retain = double([[1.0, 1.0], [2.0, 0.0]]), torch.tensor([0, 1])
    # logits of the retained: (3.5, -1) and (2.5, 0); halved by the temperature
    keep = 0.0
    for (a, b), label in (((1.75, -0.5), 0), ((1.25, 0.0), 1)):
        log_p = [x - math.log(math.exp(a) + math.exp(b)) for x in (a, b)]
        keep -= 0.9 * log_p[label] + 0.1 * (log_p[0] + log_p[1]) / 2
    expected = 1.5 * (1 - 24 / 25) + 0.7 * keep / 2
    chosen = settings(label_smoothing=0.1)
    assert duck.loss(model, forget, retain, chosen).item() == pytest.approx(expected, rel=1e-12)
    swapped = settings(label_smoothing=0.1, lambda_forget=0.7, lambda_retain=1.5)
    assert duck.loss(model, forget, retain, swapped).item() != pytest.approx(expected, rel=1e-3)


def test_the_head_learns_from_the_retained_data_alone(double_problem):
    data, model, problem = double_problem()
    images, _ = data.batch(problem.forget)
    retain = data.batch(problem.retain)
    targets = torch.randn(len(images), 5, dtype=torch.float64)

    def gradients(**weights):
        model.zero_grad(set_to_none=True)
        duck.loss(model, (images, targets), retain, settings(**weights)).backward()
        return model.head.weight.grad.clone(), model.backbone[1].weight.grad.clone()

    head, backbone = gradients()
    without_head, without = gradients(lambda_forget=0.0)
    assert torch.equal(head, without_head) and head.abs().max() > 0
    assert not torch.allclose(backbone, without)
    assert gradients(lambda_retain=0.0)[0].abs().max() == 0


# --- how many updates, with which targets ---


@pytest.mark.parametrize(
    ("batch_ratio", "expected"), [(1, 3), (2, 6), (6, 18), (7, 21), (8, 21), (100, 21)]
)
def test_each_forget_batch_takes_r_updates_or_one_a_retain_batch(
    make_images, make_model, make_problem, batch_ratio, expected
):
    problem = make_problem(make_images())  # 12 to forget: 3 batches; 36 to retain: 7, of 5 and 6
    chosen = settings(batch_ratio=batch_ratio, batch_size=5)
    duck.unlearn(make_model(), problem, chosen)
    assert problem.updates == expected


def test_the_updates_of_one_forget_batch_use_different_retained_images(
    make_images, make_model, make_problem, monkeypatch
):
    seen, real = [], duck.loss

    def spy(model, forget, retain, chosen):
        seen.append([image.tobytes() for image in retain[0].numpy()])
        return real(model, forget, retain, chosen)

    monkeypatch.setattr(duck, "loss", spy)
    problem = make_problem(make_images())
    duck.unlearn(make_model(), problem, settings(batch_ratio=100, batch_size=12))
    assert [len(set(batch)) for batch in seen] == [12, 12, 12]
    assert len({image for batch in seen for image in batch}) == 36


@pytest.mark.parametrize("forget_classes", [(1,), ()], ids=["class", "random"])
def test_targets_stay_with_their_samples_though_batches_are_shuffled(
    double_problem, monkeypatch, forget_classes
):
    data, model, problem = double_problem(forget_classes=forget_classes)
    original = copy.deepcopy(model)
    order, target_of, real = [], {}, duck.loss

    def spy(model, forget, retain, chosen):
        for image, target in zip(*forget, strict=True):
            key = image.numpy().tobytes()
            order.append(key)
            target_of.setdefault(key, set()).add(tuple(target.tolist()))
        return real(model, forget, retain, chosen)

    monkeypatch.setattr(duck, "loss", spy)
    duck.unlearn(model, problem, settings(epochs=3, batch_size=5, lr=0.1))
    images, labels = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        embeddings = original.embed(images)
    retain, forget = problem.retain.tolist(), problem.forget.tolist()
    classes = problem.retained_classes
    expected = targets_by_loops(embeddings, labels, retain, forget, classes)
    for j, target in zip(forget, expected, strict=True):
        (found,) = target_of[images[j].numpy().tobytes()]
        assert found == pytest.approx(target.tolist(), abs=1e-12)
    assert order[:12] != order[12:24] and sorted(order[:12]) == sorted(order[12:24])


def test_a_batch_larger_than_both_parts_gives_one_update_an_epoch(
    make_images, make_model, make_problem
):
    problem = make_problem(make_images(), forget_classes=(), forget=2)
    duck.unlearn(make_model(), problem, settings(batch_ratio=5, epochs=2))
    assert problem.updates == 2


def test_a_class_with_no_retained_image_is_named(make_images, make_model, make_problem):
    data = make_images(count=40, classes=3)  # of the four classes, none is of class 3
    with pytest.raises(ValueError, match="class 3"):
        duck.unlearn(make_model(), make_problem(data), settings())


# --- when it stops ---


@pytest.mark.parametrize(
    ("scenario", "stop", "seen", "epochs"),
    [
        ("class", "test", [0.5, 0.01, 0.009], 3),
        ("class", "validation", [0.0], 1),
        ("class", "never", [], 6),
        ("class", "test", [0.4] * 6, 6),
        ("random", "test", [0.9, 0.8, 0.79], 3),
        ("random", "validation", [0.79, 0.6, 0.59], 3),
        ("random", "never", [], 6),
    ],
)
def test_it_stops_after_the_first_epoch_below_the_target(
    make_images, make_model, make_problem, monkeypatch, scenario, stop, seen, epochs
):
    values = iter(seen)
    monkeypatch.setattr("unlearning.methods.base.accuracy", lambda *_: next(values))
    problem = make_problem(
        make_images(),
        forget_classes=(1,) if scenario == "class" else (),
        reference={"test": 0.8, "validation": 0.6},
    )
    duck.unlearn(make_model(), problem, settings(stop=stop, epochs=6))
    assert (problem.updates, problem.history) == (epochs, seen)


def test_the_stop_test_looks_at_the_forget_set(make_images, make_model, make_problem):
    data, model = make_images(), make_model()
    problem = make_problem(data)
    rule = settings(stop="test")
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))  # says the forgotten class
    assert not problem.finished(model, rule)
    with torch.no_grad():
        model.head.bias[3] = 2.0
    assert problem.finished(model, rule)
    assert problem.history == [1.0, 0.0]
