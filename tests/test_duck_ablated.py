"""duck_ablated: all switches off it is DUCK; each switch does what its formula says."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from test_duck import BASE, cross_entropy_by_hand, distance, double, largest_gap

from unlearning.methods import duck, duck_ablated

OFF = {
    "target": "nearest",
    "centroids": "fixed",
    "distance": "cosine",
    "retain_share": 1.0,
    "statistics": "all",
}
SWITCHED = [
    {"target": "farthest"},
    {"target": "random"},
    {"centroids": "moving"},
    {"distance": "euclidean"},
    {"retain_share": 0.5},
    {"statistics": "retained"},
]
SITUATIONS = [(1,), (0, 2), ()]
SMALL = {"batch_ratio": 3, "batch_size": 5, "epochs": 3, "milestones": [1], "label_smoothing": 0.1}


def settings(**changes) -> duck_ablated.Settings:
    return duck_ablated.Settings(**{**BASE, **OFF, **changes})


def unlearned(make_images, make_cnn, make_problem, forget_classes, **changes):
    """The weights after a run, and the problem with its counts."""
    problem = make_problem(make_images(), forget_classes=forget_classes)
    model = copy.deepcopy(make_cnn(head_dropout=0.3))
    torch.manual_seed(1)
    duck_ablated.unlearn(model, problem, settings(**{**SMALL, **changes}))
    return flat(model), problem


def flat(model) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_with_all_switches_off_it_is_duck_bit_for_bit(
    forget_classes, make_images, make_cnn, make_problem
):
    found, problem = unlearned(make_images, make_cnn, make_problem, forget_classes)
    model, twin = make_cnn(head_dropout=0.3), make_problem(make_images(), forget_classes)
    torch.manual_seed(1)
    duck.unlearn(model, twin, duck.Settings(**{**BASE, **SMALL}))
    assert torch.equal(found, flat(model)) and problem.updates == twin.updates
    assert torch.equal(problem.generator.get_state(), twin.generator.get_state())


@pytest.mark.parametrize("switch", SWITCHED, ids=lambda switch: "-".join(map(str, *switch.items())))
@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_each_switch_moves_the_weights(switch, forget_classes, make_images, make_cnn, make_problem):
    given = make_images, make_cnn, make_problem, forget_classes
    assert not torch.equal(unlearned(*given)[0], unlearned(*given, **switch)[0])


# --- an independent reference: loops, plain formulas, Adam written out ---

NAMES = ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]


def euclidean(u, v):
    return (u - v).square().sum().sqrt()


def looked_up(psi, labels, retain, forget, kind=distance, pick=min):
    """For each forgotten sample the incorrect centroid that `pick` chooses by `kind`."""
    psi, centres = psi.detach(), {}
    for c in sorted({int(labels[i]) for i in retain}):
        members = [psi[i] for i in retain if labels[i] == c]
        centres[c] = sum(members) / len(members)
    found = []
    for j in forget:
        wrong = [c for c in centres if c != labels[j]]
        found.append(centres[pick(wrong, key=lambda c: float(kind(psi[j], centres[c])))])
    return found


def by_hand(model, data, parts, targets_of, kind=distance, steps=3):
    """The weights after full-batch steps; targets_of: (step, embeddings) to a list of targets."""
    weights = [model.state_dict()[name].clone().requires_grad_() for name in NAMES]
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    images, labels = data.batch(torch.arange(len(data)))
    retain, forget = parts
    for step in range(1, steps + 1):
        psi = torch.tanh(images.flatten(1) @ weights[0].T + weights[1])
        targets = targets_of(step, psi)
        pull = sum(kind(psi[j], t) for j, t in zip(forget, targets, strict=True)) / len(forget)
        logits = (psi @ weights[2].T + weights[3]) / 2.0
        keep = sum(cross_entropy_by_hand(logits[i], labels[i], 0.1) for i in retain) / len(retain)
        gradients = torch.autograd.grad(1.5 * pull + 0.7 * keep, weights)
        for weight, (first, second), g in zip(weights, moments, gradients, strict=True):
            first.mul_(0.9).add_(0.1 * g)
            second.mul_(0.999).add_(0.001 * g * g)
            root = (second / (1 - 0.999**step)).sqrt() + 1e-8
            with torch.no_grad():
                weight -= 0.01 * first / (1 - 0.9**step) / root
    return dict(zip(NAMES, (w.detach() for w in weights), strict=True))


@pytest.fixture
def full_batches(make_images, make_model, make_problem):
    """A run of three full-batch steps in float64 from the given switches, and what it began with.

    The retained images that were read come from a record of every reading.
    """

    def make(forget_classes, watch=None, **switches):
        data, model = make_images(double=True), make_model(double=True)
        problem = make_problem(watch(data) if watch else data, forget_classes)
        start = copy.deepcopy(model)
        chosen = settings(epochs=3, label_smoothing=0.1, **switches)
        duck_ablated.unlearn(model, problem, chosen)
        assert problem.updates == 3
        parts = problem.retain.tolist(), problem.forget.tolist()
        return start, data, parts, model.state_dict(), problem

    return make


def fixed(start, data, parts, **options):
    """Targets that are looked up once, from the original."""
    images, labels = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        targets = looked_up(start.embed(images), labels, *parts, **options)
    return lambda step, psi: targets


def moving(data, parts):
    return lambda step, psi: looked_up(psi, data.labels, *parts)


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_farthest_and_euclidean_equal_the_reference_by_hand(full_batches, forget_classes):
    for switches, options in (
        ({"target": "farthest"}, {"pick": max}),
        ({"distance": "euclidean"}, {"kind": euclidean}),
        ({"distance": "euclidean", "target": "farthest"}, {"kind": euclidean, "pick": max}),
    ):
        start, data, parts, found, _ = full_batches(forget_classes, **switches)
        kind = options.get("kind", distance)
        targets = fixed(start, data, parts, **options)
        assert largest_gap(by_hand(start, data, parts, targets, kind), found) < 1e-9
        plain = by_hand(start, data, parts, fixed(start, data, parts))
        assert largest_gap(plain, found) > 1e-5


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_moving_centroids_equal_the_reference_by_hand(full_batches, forget_classes):
    start, data, parts, found, _ = full_batches(forget_classes, centroids="moving")
    assert largest_gap(by_hand(start, data, parts, moving(data, parts)), found) < 1e-9
    stays = by_hand(start, data, parts, fixed(start, data, parts))
    assert largest_gap(stays, found) > 1e-5


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_a_share_of_the_retained_data_equals_the_reference_on_what_was_read(
    full_batches, forget_classes, watch
):
    start, data, (retain, forget), found, problem = full_batches(
        forget_classes, watch, retain_share=0.5
    )
    read = problem.train.images.positions
    used = sorted(read & set(retain))
    assert len(used) == len(retain) // 2 and read >= set(forget)
    some = used, forget
    assert largest_gap(by_hand(start, data, some, fixed(start, data, some)), found) < 1e-9
    everything = retain, forget
    whole = by_hand(start, data, everything, fixed(start, data, everything))
    assert largest_gap(whole, found) > 1e-5


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_random_targets_are_incorrect_centroids_that_stay(
    full_batches, forget_classes, monkeypatch
):
    seen, real = [], duck.forget_loss
    monkeypatch.setattr(duck, "forget_loss", lambda e, t: seen.append((e, t)) or real(e, t))
    start, data, parts, found, _ = full_batches(forget_classes, target="random")
    images, labels = data.batch(torch.arange(len(data)))
    with torch.no_grad():
        psi = start.embed(images)
    first = {tuple(e.tolist()): t for e, t in zip(*seen[0], strict=True)}
    targets = [first[tuple(psi[j].tolist())] for j in parts[1]]  # before any step: by embedding
    for j, target in zip(parts[1], targets, strict=True):
        wrong = [c for c in {int(labels[i]) for i in parts[0]} if c != labels[j]]
        centres = [psi[[i for i in parts[0] if labels[i] == c]].mean(0) for c in wrong]
        assert any(torch.allclose(target, centre, atol=1e-12) for centre in centres)
    assert largest_gap(by_hand(start, data, parts, lambda step, psi: targets), found) < 1e-9
    nearest = by_hand(start, data, parts, fixed(start, data, parts))
    assert largest_gap(nearest, found) > 1e-5


# --- the parts ---


def test_random_is_uniform_over_the_incorrect_classes():
    labels, count = torch.arange(20_000) % 5, 20_000
    incorrect = labels[:, None] != torch.arange(5)
    generator = torch.Generator().manual_seed(3)
    rows = duck_ablated.assign(torch.zeros(count, 5), incorrect, "random", generator)
    for own in range(5):
        counts = torch.bincount(rows[labels == own], minlength=5).tolist()
        assert counts.pop(own) == 0
        noise = (4000 * 0.25 * 0.75) ** 0.5
        assert all(abs(n - 1000) < 4 * noise for n in counts)


def test_distances_and_pull_equal_values_by_hand():
    u, v = double([[3.0, 4.0]]), double([[4.0, 3.0], [0.0, 0.5]])
    found = duck_ablated.distances(u, v, "cosine")
    assert found.tolist() == [pytest.approx([1 - 24 / 25, 1 - 4 / 5])]
    found = duck_ablated.distances(u, v, "euclidean")
    assert found.tolist() == [pytest.approx([2**0.5, (9 + 3.5**2) ** 0.5])]
    both = duck_ablated.pull(u.expand(2, 2), v, "euclidean").item()
    assert both == pytest.approx((2**0.5 + (9 + 3.5**2) ** 0.5) / 2)


def test_the_distance_of_the_assignment_is_that_of_the_loss():
    """By angle the second centroid is nearer, by length the first."""
    sample, centres = double([[1.0, 0.0]]), double([[0.9, 0.4], [50.0, 1.0]])
    incorrect = torch.ones(1, 2, dtype=torch.bool)
    for kind, row in (("cosine", 1), ("euclidean", 0)):
        distance_ = duck_ablated.distances(sample, centres, kind)
        assert duck_ablated.assign(distance_, incorrect, "nearest", None).item() == row
        assert duck_ablated.assign(distance_, incorrect, "farthest", None).item() == 1 - row


def test_moving_a_batch_without_another_class_pulls_nothing(make_images, make_model, make_problem):
    """Homogeneous removal, retained batch of class 2 alone: only the others are pulled to it."""
    data, model = make_images(double=True), make_model(double=True)
    problem = make_problem(data, ())
    run = duck_ablated._Run(model, problem, settings(centroids="moving", lambda_retain=0.0))
    forget = (*data.batch(problem.forget), torch.arange(len(problem.forget)))
    of_class_2 = problem.retain[data.labels[problem.retain] == 2]
    retain = data.batch(of_class_2)
    others = data.labels[problem.forget] != 2
    assert 0 < others.sum() < len(others)
    centre = model.embed(retain[0]).mean(0)
    expected = [
        float(distance(e.detach(), centre.detach())) for e in model.embed(forget[0])[others]
    ]
    assert run.loss(forget, retain).item() == pytest.approx(1.5 * sum(expected) / len(expected))
    own = data.labels[problem.forget] == 2
    alone = tuple(part[own] for part in forget)
    loss = run.loss(alone, retain)
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_no_gradient_flows_through_a_moving_centroid(make_images, make_model, make_problem):
    data, model = make_images(double=True), make_model(double=True)
    problem = make_problem(data)
    run = duck_ablated._Run(model, problem, settings(centroids="moving", lambda_retain=0.0))
    forget = (*data.batch(problem.forget), torch.arange(len(problem.forget)))
    retain = data.batch(problem.retain)
    parameters = list(model.backbone.parameters())
    found = torch.autograd.grad(run.loss(forget, retain), parameters)
    psi = model.embed(data.batch(torch.arange(len(data)))[0])
    parts = problem.retain.tolist(), problem.forget.tolist()
    targets = looked_up(psi, data.labels, *parts)
    pull = sum(distance(psi[j], t) for j, t in zip(parts[1], targets, strict=True)) / 12
    expected = torch.autograd.grad(1.5 * pull, parameters)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, expected, strict=True))


def moments(model, batches):
    """Running mean and variance of the first BatchNorm after the batches, by hand, and its input.

    m <- .9 m + .1 mean, and likewise the variance, of n - 1.
    """
    layer = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before, inputs = (layer.running_mean.clone(), layer.running_var.clone()), []
    hook = layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    twin = copy.deepcopy(layer.state_dict())
    with torch.no_grad():
        for images in batches:
            model.embed(images)
    hook.remove()
    layer.load_state_dict(twin)
    mean, variance = before
    for values in inputs:
        mean = 0.9 * mean + 0.1 * values.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * values.var((0, 2, 3), correction=1)
    return mean, variance


@pytest.mark.parametrize("statistics", ["all", "retained"])
def test_running_statistics_are_of_the_batches_that_count(
    statistics, make_images, make_cnn, make_problem
):
    """One step at a learning rate of 0: what BatchNorm has seen, beside the moments by hand."""
    data, model = make_images(), make_cnn()
    problem = make_problem(data)
    forget, retain = (data.batch(part)[0] for part in (problem.forget, problem.retain))
    model.train()
    seen = [retain] if statistics == "retained" else [forget, retain]
    mean, variance = moments(copy.deepcopy(model), seen)
    tracked = [m.track_running_stats for m in model.modules() if hasattr(m, "running_mean")]
    once = settings(epochs=1, batch_ratio=1, batch_size=1000, lr=1e-30, statistics=statistics)
    duck_ablated.unlearn(model, problem, once)
    layer = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert torch.allclose(layer.running_mean, mean, atol=1e-6)
    assert torch.allclose(layer.running_var, variance, atol=1e-6)
    after = [m.track_running_stats for m in model.modules() if hasattr(m, "running_mean")]
    assert after == tracked and all(tracked)


def test_too_small_a_share_names_the_class_without_an_image(make_images, make_model, make_problem):
    with pytest.raises(ValueError, match="no retained sample of class"):
        duck_ablated.unlearn(make_model(), make_problem(make_images()), settings(retain_share=0.03))


def test_another_seed_uses_other_retained_images(make_images, make_model, make_problem):
    def used(seed):
        problem = make_problem(make_images(), seed=seed)
        return duck_ablated._Run(make_model(), problem, settings(retain_share=0.5)).retain.tolist()

    assert used(7) == used(7) and sorted(used(7)) != sorted(used(8))
    assert len(set(used(7))) == 18


def test_random_targets_with_moving_centroids_are_refused():
    with pytest.raises(ValidationError, match="centroids: fixed"):
        settings(target="random", centroids="moving")
    for share in (0.0, 1.1):
        with pytest.raises(ValidationError, match="retain_share"):
            settings(retain_share=share)
