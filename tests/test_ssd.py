"""SSD against the formula in loops over images and weights, and what its dampening must hold."""

from __future__ import annotations

import copy

import pytest
import torch

from unlearning.methods import ssd
from unlearning.methods.base import Impossible, frozen_copy
from unlearning.methods.ssd import Settings, factors, mean_importance, squared_gradients

SETTINGS = {"alpha": 1.2, "dampening": 0.7, "batch_size": 7, "importance_images": 1000}


def squares(model, data, indices):
    """Mean over images of each one's squared gradient, from the outer products of a two-layer net.

    logits = V tanh(W x + b) + c; the gradients are e hᵀ, e, d xᵀ and d with e = p - onehot
    and d = (Vᵀ e) (1 - h²).
    """
    first, head = model.backbone[1], model.head
    total = [torch.zeros_like(p) for p in model.parameters()]
    for index in indices.tolist():
        image, label = data.batch(torch.tensor([index]))
        x = image.flatten()
        h = torch.tanh(first.weight @ x + first.bias)
        scores = (head.weight @ h + head.bias).exp()
        e = scores / scores.sum()
        e[label[0]] -= 1
        d = (head.weight.T @ e) * (1 - h**2)
        for sums, g in zip(total, (torch.outer(d, x), d, torch.outer(e, h), e), strict=True):
            sums += (g**2).detach()
    return [sums / len(indices) for sums in total]


def dampened(model, whole, forget, alpha=1.2, dampening=0.7):
    """The new weights, one at a time."""
    found = []
    for p, i_whole, i_forget in zip(model.parameters(), whole, forget, strict=True):
        new = p.detach().clone().flatten()
        for j, (a, b) in enumerate(
            zip(i_whole.flatten().tolist(), i_forget.flatten().tolist(), strict=True)
        ):
            if b > alpha * a:
                new[j] *= min(dampening * a / b, 1)
        found.append(new.view_as(p))
    return found


def gap(model, weights) -> float:
    pairs = zip(model.parameters(), weights, strict=True)
    return max((p - w).abs().max().item() for p, w in pairs)


@pytest.mark.parametrize("case", [(1,), (0, 2), ()])
def test_the_edit_equals_the_formula_by_hand(case, make_images, make_model, make_problem):
    data, model = make_images(double=True), make_model(double=True)
    problem = make_problem(data, forget_classes=case)
    found = ssd.unlearn(copy.deepcopy(model), problem, Settings(**SETTINGS))
    whole = squares(model, data, torch.arange(48))
    forget, retain = (squares(model, data, part) for part in (problem.forget, problem.retain))
    right = dampened(model, whole, forget)
    assert problem.updates == 1
    assert gap(found, right) < 1e-12
    assert any((p != w).any() for p, w in zip(model.parameters(), right, strict=True))

    def of_batch(indices):
        images, labels = data.batch(indices)
        log = model(images).log_softmax(1)[torch.arange(len(labels)), labels]
        return [g**2 for g in torch.autograd.grad(log.mean(), list(model.parameters()))]

    wrong = [
        dampened(model, retain, forget),
        dampened(model, forget, whole),
        dampened(model, whole, forget, alpha=1.0),
        dampened(model, whole, forget, dampening=1.0),
        dampened(model, of_batch(torch.arange(48)), of_batch(problem.forget)),
        dampened(model, [48 * w for w in whole], [len(problem.forget) * f for f in forget]),
        [2 * p.detach() - w for p, w in zip(model.parameters(), right, strict=True)],
    ]
    assert all(gap(found, other) > 1e-4 for other in wrong)


def test_the_squares_are_those_of_each_image_in_a_network_with_batchnorm(make_images, make_cnn):
    data, model = make_images(count=9), make_cnn().eval()
    images, labels = data.batch(torch.arange(9))
    found = squared_gradients(model, images, labels)
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for k in range(9):
        model.zero_grad()
        (-model(images[k : k + 1]).log_softmax(1)[0, labels[k]]).backward()
        for name, p in model.named_parameters():
            total[name] += p.grad**2
    for name, sums in total.items():
        torch.testing.assert_close(found[name], sums, rtol=1e-4, atol=1e-6)


def test_the_mean_does_not_depend_on_the_chunks(make_images, make_model, make_problem):
    data, model = make_images(double=True), frozen_copy(make_model(double=True))
    by_size = [
        mean_importance(model, make_problem(data).batches("retain", size)) for size in (1, 7, 100)
    ]
    for other in by_size[1:]:
        for name, value in by_size[0].items():
            torch.testing.assert_close(other[name], value, rtol=1e-12, atol=0)


def test_factors_case_by_case():
    whole = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    forget = torch.tensor([1.9, 2.0, 4.0, 0.0, 1.0, 0.0])
    assert factors(whole, forget, 2.0, 1.0).tolist() == [1, 1, 0.25, 1, 0, 1]
    assert factors(whole, forget, 2.0, 3.0).tolist() == [1, 1, 0.75, 1, 0, 1]
    assert factors(whole, forget, 2.0, 8.0).tolist() == [1, 1, 1, 1, 0, 1]


def test_alpha_from_the_inverse_share_on_is_said_to_change_nothing(
    make_images, make_cnn, make_problem
):
    model = make_cnn()
    for alpha, impossible in ((4.0, True), (7.0, True), (1.5, False)):  # 12 of 48 images
        given = copy.deepcopy(model), make_problem(make_images())
        settings = Settings(**SETTINGS | {"alpha": alpha})
        if impossible:
            with pytest.raises(Impossible, match=r"alpha \d is not below \|D\| / \|D_f\| = 4"):
                ssd.unlearn(*given, settings)
            continue
        found = ssd.unlearn(*given, settings)
        pairs = zip(model.parameters(), found.parameters(), strict=True)
        assert not all(torch.equal(p, q) for p, q in pairs)


def test_only_weights_are_dampened(make_images, make_cnn, make_problem):
    model = make_cnn()
    found = ssd.unlearn(copy.deepcopy(model), make_problem(make_images()), Settings(**SETTINGS))
    for (name, before), after in zip(model.named_buffers(), found.buffers(), strict=True):
        assert torch.equal(before, after), name
    for before, after in zip(model.parameters(), found.parameters(), strict=True):
        assert (after.abs() <= before.abs()).all() and (after * before >= 0).all()


def test_fewer_retained_images_are_a_random_part_in_whole_batches(
    make_images, make_model, make_problem, watch
):
    parts = []
    for seed in (7, 8):
        data = watch(make_images())
        problem = make_problem(data, seed=seed)
        ssd.unlearn(make_model(), problem, Settings(**SETTINGS | {"importance_images": 10}))
        parts.append(data.images.positions & set(problem.retain.tolist()))
        assert data.images.positions >= set(problem.forget.tolist())
    assert [len(part) for part in parts] == [14, 14] and parts[0] != parts[1]


def test_a_part_of_the_retained_data_keeps_its_weight(make_images, make_model, make_problem):
    """All retained images alike: a part of them must give what all of them give."""
    data = make_images(double=True)
    problem = make_problem(data)
    data.images[problem.retain] = data.images[problem.retain[0]].clone()
    data.labels[problem.retain] = data.labels[problem.retain[0]].clone()
    found = [
        ssd.unlearn(make_model(double=True), copy.deepcopy(problem), Settings(**SETTINGS | change))
        for change in ({}, {"importance_images": 7})
    ]
    assert gap(found[0], list(found[1].parameters())) < 1e-12
