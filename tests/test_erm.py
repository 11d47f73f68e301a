"""ERM-KTP: the mask's formulas by loops, its training, and one transfer step by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import one_class_a_channel
from torch import nn
from torch.nn.functional import cross_entropy

from unlearning.methods import erm_ktp
from unlearning.methods.base import NotDefined, untrained_copy
from unlearning.models import erm
from unlearning.training.loop import Diverged


def test_the_regulariser_equals_its_formula_by_loops():
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = sum(float(mask[i, k]) for i in range(4) for k in range(6))
    shared = sum(
        float(mask[i, k] * mask[j, k]) for i in range(4) for j in range(i + 1, 4) for k in range(6)
    )
    expected = max(0.0, total - 0.1 * 24) + 0.1 * shared
    assert float(erm.regularity(mask)) == pytest.approx(expected, abs=1e-12)
    assert float(erm.regularity(torch.zeros(4, 6))) == 0.0


def test_each_channel_keeps_a_class_with_weight_one():
    found = erm.bounded(torch.tensor([[0.2, -1.0, 0.5], [0.4, 2.0, 0.5]]))
    assert found.tolist() == [[0.5, 0.0, 1.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize(("epoch", "masked"), [(0, False), (1, False), (2, True), (5, True)])
def test_the_mask_is_used_in_each_third_epoch(epoch, masked, make_images, make_start):
    model, data = make_start("erm_ktp").eval(), make_images()
    images, labels = data.batch(torch.arange(8))
    loss = model.training_loss(images, labels, cross_entropy, epoch)
    plain = cross_entropy(model(images), labels)
    assert (loss.item() == plain.item()) == (not masked)
    if masked:
        rows = [
            cross_entropy(
                model.head(
                    (model.mask[y].repeat_interleave(9) * model.embed(x[None]).squeeze(0))[None]
                ),
                y[None],
            )
            for x, y in zip(images, labels, strict=True)
        ]
        expected = torch.stack(rows).mean() + erm.RATE * erm.regularity(model.mask)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_mask_is_learned_and_the_model_evaluated_without_it(make_images, make_cnn):
    torch.manual_seed(0)
    model = erm.masked(make_cnn()).eval()
    images, labels = make_images().batch(torch.arange(8))
    before = model(images)
    model.training_loss(images, labels, cross_entropy, epoch=2).backward()
    assert model.mask.grad.abs().sum() > 0
    model.mask.data.zero_()
    assert torch.equal(model(images), before)


def masked_model(make_model):
    model = erm.masked(make_model(width=8, double=True)).double()
    model.mask.data = one_class_a_channel(model.mask).double()
    return model


SETTINGS = {"epochs": 1, "batch_size": 1000, "lr": 0.3, "momentum": 0.0, "weight_decay": 0.0}


def test_one_transfer_step_equals_the_gradient_by_hand(make_images, make_model, make_problem):
    data, model = make_images(double=True), masked_model(make_model)
    problem = make_problem(data, touches=("retain",))
    start = untrained_copy(model, torch.Generator().manual_seed(problem.seed))
    found = erm_ktp.unlearn(
        copy.deepcopy(model), problem, erm_ktp.Settings(**SETTINGS, milestones=[])
    )
    x = data.batch(problem.retain)[0].flatten(1)
    gate = torch.tensor([0.0 if k % 4 == 1 else 1.0 for k in range(8)], dtype=torch.float64)

    def layer(network):
        return network.backbone[1].weight.detach(), network.backbone[1].bias.detach()

    def by_hand(gate):
        (w_o, b_o), (w, b) = layer(model), layer(start)
        target = torch.tanh(x @ w_o.T + b_o) * gate
        out = torch.tanh(x @ w.T + b)
        slope = 2 * (out - target) * (1 - out**2) / out.numel()
        return w - 0.3 * slope.T @ x, b - 0.3 * slope.sum(0)

    for mine, expected in zip(layer(found), by_hand(gate), strict=True):
        assert (mine - expected).abs().max() < 1e-12
    assert (layer(found)[0] - by_hand(torch.ones(8))[0]).abs().max() > 1e-6
    head = model.head.weight.detach() * gate
    head[1] = 0
    assert torch.equal(found.head.weight, head) and found.head.bias[1] == 0
    assert torch.equal(found.head.bias[2:], model.head.bias[2:])


def test_the_student_starts_as_a_new_network(make_model):
    model = masked_model(make_model)
    twins = [untrained_copy(model, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    first, again, other = (twin.backbone[1].weight for twin in twins)
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, model.backbone[1].weight)


def test_a_mask_without_a_free_channel_is_a_divergence(make_images, make_cnn, make_problem):
    model, problem = erm.masked(make_cnn()), make_problem(make_images(), touches=("retain",))
    with pytest.raises(Diverged, match="every channel serves a class of"):
        erm_ktp.unlearn(model, problem, erm_ktp.Settings(**SETTINGS, milestones=[]))


def test_it_needs_the_mask_and_class_removal(make_images, make_model, make_problem):
    settings = erm_ktp.Settings(**SETTINGS, milestones=[])
    with pytest.raises(ValueError, match="trained with its mask"):
        erm_ktp.unlearn(make_model(), make_problem(make_images()), settings)
    with pytest.raises(NotDefined, match="class removal"):
        problem = make_problem(make_images(), forget_classes=())
        erm_ktp.unlearn(masked_model(make_model), problem, settings)


def test_the_mask_is_a_parameter_of_the_model(make_cnn):
    names = dict(erm.masked(make_cnn()).named_parameters())
    assert isinstance(names["mask"], nn.Parameter) and names["mask"].shape == (4, 8)
