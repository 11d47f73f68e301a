"""SCAR: its statistics and distances, what it distils, whole runs by hand, and what it reads."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from pydantic import ValidationError

from unlearning.data.surrogates import surrogate
from unlearning.methods import scar
from unlearning.methods.base import AccessError

BASE = {
    "lambda_forget": 1.3,
    "lambda_distil": 5.0,
    "temperature": 2.0,
    "delta": 0.5,
    "gamma_diagonal": 3.0,
    "gamma_off_diagonal": 2.0,
    "batch_ratio": 2,
    "batch_size": 1000,
    "lr": 0.01,
    "weight_decay": 0.0,
    "epochs": 2,
    "surrogate": "dead_leaves",
    "surrogate_images": 20,
    "stop": "never",
    "forget_target": 0.01,
}
CASES = {"one class": (1,), "two classes": (0, 2), "homogeneous": ()}


def settings(**changes) -> scar.Settings:
    return scar.Settings(**{**BASE, **changes})


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(samples=30, size=6, seed=0):
    """A covariance [D, D] and its samples [N, D]."""
    features = random(samples, size, seed=seed) @ random(size, size, seed=seed + 1)
    return features.T.cov(), features


# --- an independent SCAR: loops, inverses, Adam written out ---


class ByHand:
    """The whole of SCAR on `make_model`'s network; each flag is one plausible mistake."""

    def __init__(self, model, data, others, problem, given, **flags):
        self.flags = {
            "sign": 1.0, "squared": False, "unit": True, "shrunk": 1, "scaled": True,
            "temperature": given.temperature, "swap": False, "selective": True, "lowered": True,
            "own": True, "delta": given.delta, "clamped": True, "moving": False,
        } | flags  # fmt: skip
        assert not flags.keys() - self.flags.keys()
        self.given, self.labels = given, data.labels.tolist()
        self.x = data.batch(torch.arange(len(data)))[0].flatten(1)
        self.z = others.batch(torch.arange(len(others)))[0].flatten(1)
        self.weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
        self.forget, self.removed = problem.forget.tolist(), problem.forget_classes
        self.statistics = {
            c: self.statistic([i for i in problem.retain.tolist() if self.labels[i] == c])
            for c in range(4)
            if c not in self.removed
        }
        self.targets = [self.nearest(j) for j in self.forget]
        self.teacher()

    def embed(self, x):
        return torch.tanh(x @ self.weights[0].T + self.weights[1])

    def logits(self, x):
        return self.embed(x) @ self.weights[2].T + self.weights[3]

    def feature(self, x):
        z = self.embed(x)
        if self.flags["clamped"]:
            return torch.where(z > 0, z + 1e-6, torch.full_like(z, 1e-6)) ** self.flags["delta"]
        return (z.abs() + 1e-6) ** self.flags["delta"]

    def statistic(self, members):
        with torch.no_grad():
            values = self.feature(self.x[members])
        n, size = values.shape
        mean = sum(values) / n
        s = sum(torch.outer(v - mean, v - mean) for v in values) / (n - 1)
        for _ in range(self.flags["shrunk"]):
            pairs = [(a, b) for a in range(size) for b in range(size)]
            v = sum(s[a, b] for a, b in pairs if a == b) / size
            w = sum(s[a, b] for a, b in pairs if a != b) / (size * size - size)
            new = s.clone()
            for a, b in pairs:
                more = (
                    self.given.gamma_diagonal * v if a == b else self.given.gamma_off_diagonal * w
                )
                new[a, b] = s[a, b] + more
            s = new
        if self.flags["scaled"]:
            d = torch.diag(torch.diag(s) ** -0.5)
            s = d @ s @ d
        return mean / mean.square().sum().sqrt() if self.flags["unit"] else mean, s.inverse()

    def distance(self, j, c):
        u = self.feature(self.x[j])
        if self.flags["unit"]:
            u = u / u.square().sum().sqrt()
        mean, inverse = self.statistics[c]
        found = (u - mean) @ inverse @ (u - mean)
        return found if self.flags["squared"] else found**0.5

    def nearest(self, j):
        allowed = [c for c in self.statistics if c != self.labels[j] or not self.flags["own"]]
        return min(allowed, key=lambda c: self.distance(j, c).item())

    def teacher(self):
        with torch.no_grad():
            target = self.logits(self.z).clone()
        kept = [i for i, row in enumerate(target) if int(row.argmax()) not in self.removed]
        assert 0 < len(kept) <= len(target) and (len(kept) == len(target)) == (not self.removed)
        smallest = min(target[i, k].item() for i in kept for k in range(4))
        for c in self.removed if self.flags["lowered"] else ():
            target[:, c] = smallest
        self.target, self.kept = target, kept if self.flags["selective"] else range(len(target))

    def loss(self):
        if self.flags["moving"]:
            self.targets = [self.nearest(j) for j in self.forget]
        pairs = zip(self.forget, self.targets, strict=True)
        pull = sum(self.distance(j, c) for j, c in pairs) / len(self.forget)
        keep, t = 0.0, self.flags["temperature"]
        for i in self.kept:
            p = (self.target[i] / t).exp() / (self.target[i] / t).exp().sum()
            q = (self.logits(self.z[i]) / t).exp()
            q = q / q.sum()
            a, b = (q, p) if self.flags["swap"] else (p, q)
            keep = keep + (a * (a / b).log()).sum() / len(self.kept)
        first = self.flags["sign"] * self.given.lambda_forget
        return first * pull + self.given.lambda_distil * keep

    def run(self, steps):
        first = [torch.zeros_like(w) for w in self.weights]
        second = [torch.zeros_like(w) for w in self.weights]
        for t in range(1, steps + 1):
            gradients = torch.autograd.grad(self.loss(), self.weights)
            for w, g, m, v in zip(self.weights, gradients, first, second, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                move = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
                w.data -= self.given.lr * move
        return self.weights


def setting(case, make_images, make_model, make_problem, **options):
    data, others = make_images(double=True), make_images(count=20, seed=4, double=True)
    model = make_model(double=True)
    problem = make_problem(data, CASES[case], touches=scar.TOUCHES, surrogate=others, **options)
    return model, data, others, problem


def gap(model, weights):
    pairs = zip(model.parameters(), weights, strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


WRONG = {
    "the other way": {"sign": -1.0},
    "squared distance": {"squared": True},
    "embeddings of any length": {"unit": False},
    "no shrinkage": {"shrunk": 0},
    "shrinkage twice": {"shrunk": 2},
    "covariance as it is": {"scaled": False},
    "no temperature": {"temperature": 1.0},
    "KL the other way": {"swap": True},
    "no power": {"delta": 1.0},
    "absolute values": {"clamped": False},
}
IN_CLASS_REMOVAL = {
    "surrogates of removed classes": {"selective": False},
    "the original's own logits": {"lowered": False},
}
IN_HOMOGENEOUS_REMOVAL = {"nearest class, its own too": {"own": False}}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_run_equals_one_by_hand(case, make_images, make_model, make_problem):
    model, data, others, problem = setting(case, make_images, make_model, make_problem)
    given = settings()
    wrong = WRONG | (IN_CLASS_REMOVAL if CASES[case] else IN_HOMOGENEOUS_REMOVAL)

    def by_hand(**flags):
        return ByHand(model, data, others, problem, given, **flags).run(steps=4)

    expected = by_hand()
    mistakes = {name: by_hand(**flags) for name, flags in wrong.items()}
    found = scar.unlearn(copy.deepcopy(model), problem, given)
    assert problem.updates == 4 and gap(found, model.parameters()) > 0.01
    assert gap(found, expected) < 1e-10
    for name, weights in mistakes.items():
        assert not gap(found, weights) < 1e-5, name  # without shrinkage it may be NaN


def test_targets_stay_those_of_the_original(make_images, make_model, make_problem):
    model, data, others, problem = setting("one class", make_images, make_model, make_problem)
    given = settings(epochs=20, lr=0.05)
    fixed, moving = (
        ByHand(model, data, others, problem, given, moving=flag).run(steps=40)
        for flag in (False, True)
    )
    found = scar.unlearn(copy.deepcopy(model), problem, given)
    assert gap(found, fixed) < 1e-9
    assert gap(found, moving) > 1e-3


# --- the parts ---


def test_tukeys_power_has_a_finite_slope_everywhere():
    z = torch.tensor([-1.0, 0.0, 1e-9, 0.25, 4.0], dtype=torch.float64, requires_grad=True)
    values = scar.tukey(z, 0.5)
    (slope,) = torch.autograd.grad(values.sum(), z)
    assert values.tolist() == pytest.approx([1e-3, 1e-3, 1e-3, 0.5, 2.0], abs=2e-6)
    assert torch.isfinite(slope).all() and slope.max() <= 500 and slope[0] == 0
    bare = torch.tensor([-1.0, 0.0], requires_grad=True)
    (slope,) = torch.autograd.grad(bare.pow(0.5).sum(), bare)
    assert slope[0].isnan() and slope[1].isinf()


def test_shrinkage_adds_the_mean_variance_and_covariance():
    covariance, _ = spread(size=3)
    found = scar.shrink(covariance, 3.0, 2.0)
    v = sum(covariance[i, i] for i in range(3)) / 3
    w = (covariance[0, 1] + covariance[0, 2] + covariance[1, 2]) / 3
    for i in range(3):
        for j in range(3):
            more = 3 * v if i == j else 2 * w
            assert found[i, j] == pytest.approx(float(covariance[i, j] + more), abs=1e-12)


@pytest.mark.parametrize("samples", [2, 4, 50])
def test_shrinkage_makes_too_few_samples_enough(samples):
    covariance, _ = spread(samples, size=12)
    found = scar.correlation(scar.shrink(covariance, 3.0, 3.0))
    assert torch.linalg.eigvalsh(found).min() > 1e-3
    assert torch.allclose(found.diagonal(), torch.ones(12, dtype=torch.float64))
    assert samples > 12 or torch.linalg.matrix_rank(covariance) < 12


def test_shrinkage_keeps_opposed_features_definite():
    x = random(20, 1)
    covariance = torch.cat([x, -x, 0.1 * random(20, 1, seed=1)], 1).T.cov()
    assert covariance.sum() < covariance.diagonal().sum()  # the mean covariance is negative
    assert torch.linalg.eigvalsh(scar.shrink(covariance, 3.0, 3.0)).min() > 0


def test_shrinking_twice_is_shrinking_once_with_more():
    covariance, _ = spread()
    twice = scar.shrink(scar.shrink(covariance, 3.0, 3.0), 3.0, 3.0)
    assert torch.allclose(twice, scar.shrink(covariance, 15.0, 15.0), rtol=1e-12)
    assert not torch.allclose(twice, scar.shrink(covariance, 6.0, 6.0), rtol=1e-2)


def test_the_distance_is_mahalanobis_and_its_slope_finite_at_the_mean():
    covariance, features = spread()
    mean, points = features.mean(0), random(7, 6, seed=5)
    known = scar.Distributions(mean[None], torch.linalg.cholesky(covariance)[None])
    away = points - mean
    expected = (away @ covariance.inverse() * away).sum(1).sqrt()
    assert torch.allclose(known.distance(points, 0), expected, rtol=1e-9)
    plain = scar.Distributions(mean[None], torch.eye(6, dtype=torch.float64)[None])
    assert torch.allclose(plain.distance(points, 0), torch.cdist(points, mean[None])[:, 0])
    at = mean.clone().requires_grad_()
    (slope,) = torch.autograd.grad(known.distance(at[None], 0).sum(), at)
    assert not slope.any()


def test_nearest_wrong_goes_by_class_and_not_by_row():
    distances = torch.tensor([[1.0, 5.0, 9.0], [1.0, 5.0, 9.0], [9.0, 1.0, 5.0]])
    labels = torch.tensor([0, 1, 2])
    found = scar.nearest_wrong(distances, labels, classes=[0, 2, 3])
    assert found.tolist() == [1, 0, 2]
    assert scar.nearest_wrong(distances, labels, classes=[0, 1, 2]).tolist() == [1, 0, 1]


def test_the_teacher_knows_nothing_of_removed_classes():
    logits = torch.tensor([[3.0, 1.0, 0.0], [0.0, 4.0, -2.0], [1.0, 2.0, 5.0]])
    target, counts = scar.teacher(logits, (1,))
    assert counts.tolist() == [True, False, True]
    assert target.tolist() == [[3, 0, 0], [0, 0, -2], [1, 0, 5]]  # -2 is of an image left out
    target, counts = scar.teacher(logits, ())
    assert counts.all() and torch.equal(target, logits)
    target, counts = scar.teacher(logits[1:2], (1,))
    assert counts.all() and target.tolist() == [[0, -2, -2]]


def test_distillation_is_zero_at_the_teacher_and_blind_to_what_does_not_count():
    target, counts = random(5, 4) * 6, torch.tensor([True, True, False, True, False])
    student = target.clone().requires_grad_()
    found = scar.distillation(student, target, counts, 2.0)
    (slope,) = torch.autograd.grad(found, student)
    assert abs(found) < 1e-14 and slope.abs().max() < 1e-15
    other = random(5, 4, seed=2)
    found = scar.distillation(other, target, counts, 2.0)
    assert found > 0.01
    kept = scar.distillation(other[counts], target[counts], counts[counts], 2.0)
    assert torch.allclose(kept, found, rtol=1e-12)
    assert scar.distillation(other, target, torch.zeros(5, dtype=torch.bool), 2.0) == 0
    p, q = (torch.softmax(x / 2, 1) for x in (target, other))
    pairs = [zip(*pair, strict=True) for pair in zip(p.tolist(), q.tolist(), strict=True)]
    each = [sum(a * math.log(a / b) for a, b in pair) for pair in pairs]
    assert float(found) == pytest.approx((each[0] + each[1] + each[3]) / 3, abs=1e-12)


# --- what it reads, refuses and when it stops ---


def test_a_class_with_one_sample_has_no_covariance():
    features, labels = random(5, 3), torch.tensor([0, 0, 2, 3, 3])
    with pytest.raises(ValueError, match="fewer than two retained samples of class 2"):
        scar.distributions(features, labels, [0, 2, 3], settings())


def test_a_shrinkage_that_may_be_indefinite_is_refused():
    with pytest.raises(ValidationError, match="must not be below gamma_off_diagonal"):
        settings(gamma_diagonal=1.0, gamma_off_diagonal=2.0)


@pytest.mark.parametrize("part", ["retain", "forget", "surrogate"])
def test_every_part_is_asked_for(part, make_images, make_model, make_problem):
    model, _, _, problem = setting("one class", make_images, make_model, make_problem)
    problem.touches -= {part}
    with pytest.raises(AccessError, match=f"not {part}"):
        scar.unlearn(model, problem, settings())


def test_retained_images_are_read_once(make_images, make_model, make_problem, watch):
    data = make_images(double=True)
    problem = make_problem(
        watch(data), touches=scar.TOUCHES, surrogate=make_images(count=20, seed=4, double=True)
    )
    scar.unlearn(make_model(double=True), problem, settings(epochs=3))
    retain = set(problem.retain.tolist())
    asked = [i for batch in problem.train.images.asked for i in batch if i in retain]
    assert sorted(asked) == sorted(retain)


def test_it_stops_after_the_epoch_that_passes(make_images, make_model, make_problem):
    model, _, _, problem = setting("one class", make_images, make_model, make_problem)
    scar.unlearn(model, problem, settings(stop="test", forget_target=1.0, epochs=50, lr=0.05))
    assert problem.history[-1] < 1.0 and all(seen >= 1.0 for seen in problem.history[:-1])
    assert problem.updates == 2 * len(problem.history) < 100


def test_the_surrogates_are_those_of_its_settings(make_images):
    given = settings(surrogate="noise", surrogate_images=7)
    first, second = (scar.surrogates(given, make_images(seed=seed)) for seed in (0, 1))
    assert first.images.shape == (7, 1, 12, 12) and torch.equal(first.images, second.images)
    assert not torch.equal(first.images, surrogate("noise", 7, make_images(), 0).images)
