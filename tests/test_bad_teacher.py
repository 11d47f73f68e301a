"""Bad Teacher: the incompetent network, the share of D_r, and whole runs written out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unlearning.methods import bad_teacher
from unlearning.methods.base import untrained_copy

BASE = {"retain_share": 0.3, "temperature": 2.0, "epochs": 3, "batch_size": 8, "lr": 0.01}
NAMES = ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]


def settings(**changes) -> bad_teacher.Settings:
    return bad_teacher.Settings(**{**BASE, **changes})


def logits_of(weights, images):
    hidden = torch.tanh(images.flatten(1) @ weights[0].T + weights[1])
    return hidden, hidden @ weights[2].T + weights[3]


def probabilities(logits, temperature):
    scores = (logits / temperature).exp()
    return scores / scores.sum(1, keepdim=True)


def run_by_hand(model, data, problem, *, share=0.3, temperature=2.0, mistake=""):
    """Adam and the gradients of two layers, written out; draws come as in the method."""
    generator = torch.Generator().manual_seed(problem.seed)
    order = torch.randperm(len(problem.retain), generator=generator)
    kept = problem.retain[order[: round(share * len(problem.retain))]]
    stranger = untrained_copy(model, generator)
    good = [model.state_dict()[name].clone() for name in NAMES]
    bad = [stranger.state_dict()[name].clone() for name in NAMES]
    if mistake == "teachers swapped":
        good, bad = bad, good
    if mistake == "one teacher":
        bad = good
    weights = [model.state_dict()[name].clone() for name in NAMES]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    everything = [(int(i), bad) for i in problem.forget] + [(int(i), good) for i in kept]
    step = 0
    for _ in range(3):
        for chunk in torch.randperm(len(everything), generator=generator).split(8):
            step += 1
            chosen = [everything[i] for i in chunk.tolist()]
            images, _ = data.batch(torch.tensor([index for index, _ in chosen]))
            targets = torch.cat(
                [
                    probabilities(logits_of(teacher, image[None])[1], temperature)
                    for image, (_, teacher) in zip(images, chosen, strict=True)
                ]
            )
            hidden, logits = logits_of(weights, images)
            error = temperature * (probabilities(logits, temperature) - targets) / len(chosen)
            back = (error @ weights[2]) * (1 - hidden**2)
            gradients = back.T @ images.flatten(1), back.sum(0), error.T @ hidden, error.sum(0)
            for k, g in enumerate(gradients):
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g * g
                m, v = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
                weights[k] = weights[k] - 0.01 * m / (v.sqrt() + 1e-8)
    return dict(zip(NAMES, weights, strict=True))


def largest_gap(a, b) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in NAMES)


@pytest.fixture
def double_problem(make_images, make_model, make_problem):
    def make(**options):
        data = make_images(double=True)
        return data, make_model(double=True), make_problem(data, **options)

    return make


@pytest.mark.parametrize("forget_classes", [(1,), (0, 2), ()], ids=["class", "classes", "random"])
def test_a_run_equals_the_reference_by_hand(double_problem, forget_classes):
    data, model, problem = double_problem(forget_classes=forget_classes)
    expected = run_by_hand(model, data, problem)
    bad_teacher.unlearn(model, problem, settings())
    assert largest_gap(expected, model.state_dict()) < 1e-9
    images = len(problem.forget) + round(0.3 * len(problem.retain))
    assert problem.updates == 3 * -(-images // 8)


@pytest.mark.parametrize(
    "mistake",
    [
        {"mistake": "teachers swapped"},
        {"mistake": "one teacher"},
        {"temperature": 1.0},
        {"share": 1.0},
    ],
    ids=["teachers swapped", "one teacher", "no temperature", "all of D_r"],
)
def test_a_wrong_reference_gives_other_weights(double_problem, mistake):
    data, model, problem = double_problem()
    wrong = run_by_hand(model, data, problem, **mistake)
    bad_teacher.unlearn(model, problem, settings())
    assert largest_gap(wrong, model.state_dict()) > 1e-5


# --- the incompetent teacher ---


def test_it_shares_nothing_with_the_model_and_leaves_it_alone(make_cnn):
    model = make_cnn()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(3)
    before = copy.deepcopy(model.state_dict())
    found = bad_teacher.incompetent(model, torch.Generator().manual_seed(1)).state_dict()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(torch.equal(before[k], v) for k, v in found.items())
    assert all((v == 0).all() for k, v in found.items() if "running_mean" in k)
    assert all((v == 1).all() for k, v in found.items() if "running_var" in k)


def test_it_depends_on_the_seed_alone_and_leaves_torch_its_generator(make_cnn):
    state = torch.get_rng_state()
    model, other = make_cnn(seed=0), make_cnn(seed=5)
    torch.set_rng_state(state)
    found = [
        bad_teacher.incompetent(which, torch.Generator().manual_seed(seed)).head.weight
        for which, seed in ((model, 1), (other, 1), (model, 2))
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(state, torch.get_rng_state())


class Scale(nn.Module):
    """Has a weight that nothing resets."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * x


def test_weights_that_cannot_be_drawn_anew_are_refused(make_model):
    model = make_model()
    model.backbone.append(Scale())
    with pytest.raises(ValueError, match=r"backbone\.3 has weights but no reset_parameters"):
        bad_teacher.incompetent(model, torch.Generator())


# --- the share of D_r ---


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.3, 30), (1.0, 100)])
def test_the_share_is_a_random_part_without_repetition(share, count):
    indices = torch.arange(100) + 7
    found = bad_teacher.share_of(indices, share, torch.Generator().manual_seed(0))
    assert len(found) == len(set(found.tolist())) == count
    assert set(found.tolist()) <= set(indices.tolist())
    if count == 30:
        again = bad_teacher.share_of(indices, share, torch.Generator().manual_seed(1))
        assert set(again.tolist()) != set(found.tolist())
        assert not torch.equal(found.sort().values, indices[:30])
