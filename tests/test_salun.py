"""SalUn against SGD written out for a linear classifier, and what its mask must hold."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unlearning.methods import salun
from unlearning.methods.salun import Settings, draw_other, masks, saliency
from unlearning.models.base import Classifier

SETTINGS = {"epochs": 3, "batch_size": 1000, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}


def linear(make_images):
    torch.manual_seed(0)
    return make_images(double=True), Classifier(nn.Flatten(), nn.Linear(144, 4)).double()


def gradient(theta, x, labels):
    """Gradient of the mean cross-entropy of a linear classifier; theta [K, D + 1], bias last."""
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    scores = (x @ theta.T).exp()
    error = scores / scores.sum(1, keepdim=True)
    error[torch.arange(len(labels)), labels] -= 1
    return error.T @ x / len(x)


def packed(model):
    return torch.cat([model.head.weight, model.head.bias[:, None]], 1).detach().clone()


def by_hand(model, mask_of, batches, masked="step"):
    """SGD in which the weights outside the mask do not move, or only lose their gradient."""
    theta = packed(model)
    mask, moved = mask_of(theta), torch.zeros_like(theta)
    for x, labels in batches:
        g = gradient(theta, x, labels)
        if masked == "gradient":
            g = g * mask
        moved = 0.9 * moved + g + 0.01 * theta
        theta = theta - 0.05 * moved * (mask if masked == "step" else 1.0)
    return theta


CASES = {"class removal": (1,), "two classes": (0, 2), "homogeneous": ()}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_run_equals_masked_sgd_by_hand(case, make_images, make_problem):
    data, model = linear(make_images)
    problem = make_problem(data, forget_classes=CASES[case])
    allowed = [c for c in range(4) if c not in CASES[case]]
    generator = torch.Generator().manual_seed(problem.seed)
    torch.randperm(len(problem.forget), generator=generator)  # the pass for the mask
    forget, retain, once = [], [], None
    for _ in range(3):
        order = torch.randperm(len(problem.forget), generator=generator)
        images, labels = data.batch(problem.forget[order])
        if CASES[case]:
            choice = torch.randint(len(allowed), (len(order),), generator=generator)
            drawn = torch.tensor([allowed[i] for i in choice])
        else:
            shift = torch.randint(1, 4, (len(order),), generator=generator)
            drawn = torch.tensor([(y + s) % 4 for y, s in zip(labels, shift, strict=True)])
        once = drawn if once is None else once
        forget.append((images.flatten(1), drawn, labels))
        order = torch.randperm(len(problem.retain), generator=generator)
        images, labels = data.batch(problem.retain[order])
        retain.append((images.flatten(1), labels))

    def mask_of(theta, part=problem.forget):
        images, labels = data.batch(part)
        s = gradient(theta, images.flatten(1), labels).abs()
        return (s >= s.flatten().sort().values[290]).double()  # 290 of 580 stay

    def interleaved(labels_of):
        pairs = zip(forget, retain, strict=True)
        return [b for f, r in pairs for b in ((f[0], labels_of(f)), r)]

    found = salun.unlearn(copy.deepcopy(model), problem, Settings(sparsity=0.5, **SETTINGS))
    right = interleaved(lambda f: f[1])
    close = (packed(found) - by_hand(model, mask_of, right)).abs().max().item()
    assert problem.updates == 6 and close < 1e-12
    swapped = [b for pair in zip(right[1::2], right[::2], strict=True) for b in pair]
    wrong = [
        by_hand(model, lambda theta: torch.ones_like(theta), right),
        by_hand(model, lambda theta: 1 - mask_of(theta), right),
        by_hand(model, lambda theta: mask_of(theta, problem.retain), right),
        by_hand(model, mask_of, right, masked="gradient"),
        by_hand(model, mask_of, interleaved(lambda f: f[2])),
        by_hand(model, mask_of, interleaved(lambda f: once)),
        by_hand(model, mask_of, swapped),
        by_hand(model, mask_of, right[1::2]),
        by_hand(model, mask_of, right[::2]),
    ]
    assert all((packed(found) - other).abs().max() > 1e-6 for other in wrong)


def test_weights_outside_the_mask_keep_their_bits(make_images, make_cnn, make_problem):
    data = make_images(size=28)  # of smaller ones the head sees each feature several times: ties
    model, problem = make_cnn(), make_problem(data)
    moving = masks(saliency(copy.deepcopy(model), make_problem(data), 8), 0.5)
    settings = Settings(sparsity=0.5, **(SETTINGS | {"batch_size": 8, "weight_decay": 0.1}))
    found = salun.unlearn(copy.deepcopy(model), problem, settings)
    total = sum(p.numel() for p in model.parameters())
    triples = list(zip(model.parameters(), found.parameters(), moving, strict=True))
    for before, after, mask in triples:
        assert torch.equal(before[~mask], after[~mask])
    moved = sum((before != after).sum().item() for before, after, _ in triples)
    assert 0.45 * total < moved <= 0.5 * total + 1
    before, after = model.backbone[1], found.backbone[1]
    assert not torch.equal(before.running_mean, after.running_mean)


def test_the_saliency_is_taken_at_the_original_in_evaluation_mode(
    make_images, make_cnn, make_problem
):
    data, model = make_images(), make_cnn(head_dropout=0.5)
    problem = make_problem(data)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = saliency(model.train(), problem, 5)
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    model.eval()
    total = [0.0 for _ in found]
    for index in problem.forget:
        images, labels = data.batch(index[None])
        model.zero_grad()
        (-model(images).log_softmax(1)[0, labels[0]] / len(problem.forget)).backward()
        total = [t + p.grad for t, p in zip(total, model.parameters(), strict=True)]
    for s, t in zip(found, total, strict=True):
        torch.testing.assert_close(s, t.abs(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9])
def test_the_mask_leaves_the_share_out_over_all_tensors_together(sparsity):
    generator = torch.Generator().manual_seed(0)
    salient = [torch.rand(30, 2, generator=generator), 10 + torch.rand(40, generator=generator)]
    chosen = masks(salient, sparsity)
    assert sum(m.sum().item() for m in chosen) == 100 - int(100 * sparsity)
    kept = torch.cat([s[m] for s, m in zip(salient, chosen, strict=True)])
    left = torch.cat([s[~m] for s, m in zip(salient, chosen, strict=True)])
    assert not len(left) or kept.min() > left.max()
    if sparsity == 0.9:
        assert not chosen[0].any()


def test_a_weight_without_gradient_never_moves():
    assert masks([torch.tensor([0.0, 0.0, 0.0, 2.0])], 0.5)[0].tolist() == [False] * 3 + [True]


def test_other_labels_are_uniform_over_the_other_classes():
    generator = torch.Generator().manual_seed(0)
    for own in range(4):
        drawn = draw_other(torch.full((20_000,), own), 4, generator)
        counts = torch.bincount(drawn, minlength=4).tolist()
        assert counts[own] == 0
        assert all(abs(counts[c] - 20_000 / 3) < 4 * 67 for c in range(4) if c != own)
