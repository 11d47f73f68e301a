"""duck_released: all switches off it is DUCK; each switch does what the release does."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from unlearning.methods import duck, duck_released

BASE = {
    "lambda_forget": 1.0,
    "lambda_retain": 1.4,
    "temperature": 2.0,
    "batch_ratio": 3,
    "batch_size": 5,
    "lr": 0.01,
    "weight_decay": 0.0,
    "epochs": 3,
    "milestones": [1],
    "label_smoothing": 0.1,
    "stop": "never",
    "forget_target": 0.01,
}
OFF = {
    "targets": "fixed",
    "shuffle_forget": True,
    "extra_step": False,
    "row_for_label": False,
    "centroid_batches": 0,
    "drop_last": False,
    "second_phase": False,
}
ON = {
    "targets": "released",
    "shuffle_forget": False,
    "extra_step": True,
    "row_for_label": True,
    "centroid_batches": 3,
    "drop_last": True,
    "second_phase": True,
}
SITUATIONS = [(1,), (0, 2), ()]


def unlearned(make_images, make_cnn, make_problem, forget_classes, switches, **changes):
    """The weights after a run, and the problem with its counts."""
    problem = make_problem(make_images(), forget_classes=forget_classes)
    model = copy.deepcopy(make_cnn())
    settings = duck_released.Settings(**{**BASE, **OFF, **switches, **changes})
    duck_released.unlearn(model, problem, settings)
    return torch.cat([t.flatten().double() for t in model.state_dict().values()]), problem


@pytest.mark.parametrize("forget_classes", SITUATIONS)
def test_with_all_switches_off_it_is_duck_bit_for_bit(
    forget_classes, make_images, make_cnn, make_problem
):
    found, problem = unlearned(make_images, make_cnn, make_problem, forget_classes, {})
    model, twin = make_cnn(), make_problem(make_images(), forget_classes=forget_classes)
    duck.unlearn(model, twin, duck.Settings(**BASE))
    expected = torch.cat([t.flatten().double() for t in model.state_dict().values()])
    assert torch.equal(found, expected) and problem.updates == twin.updates


@pytest.mark.parametrize("switch", ON)
def test_each_switch_moves_the_weights_where_it_applies(
    switch, make_images, make_cnn, make_problem
):
    moved = {}
    for forget_classes in SITUATIONS:
        both = [
            unlearned(make_images, make_cnn, make_problem, forget_classes, switches)[0]
            for switches in ({}, {switch: ON[switch]})
        ]
        moved[forget_classes] = not torch.equal(*both)
    inert = {"row_for_label": [()], "drop_last": [(1,), (0, 2)]}.get(switch, [])
    assert moved == {situation: situation not in inert for situation in SITUATIONS}


def test_the_extra_step_is_one_update_more_a_batch(make_images, make_cnn, make_problem):
    plain = unlearned(make_images, make_cnn, make_problem, (1,), {})[1].updates
    more = unlearned(make_images, make_cnn, make_problem, (1,), {"extra_step": True})[1].updates
    assert (plain, more) == (3 * 3 * 3, 3 * 3 * 4)  # epochs, batches of 5 of 12, steps


def test_the_row_is_taken_for_the_label(make_images, make_cnn, make_problem):
    """Class 1 removed: row 1 of the list is class 2, and is what the release leaves out."""
    problem, settings = make_problem(make_images()), {**BASE, **OFF, "row_for_label": True}
    run = duck_released._Run(make_cnn(), problem, duck_released.Settings(**settings))
    class_2 = run.centres[1]
    assert not any(torch.equal(target, class_2) for target in run.fixed)
    intended = duck_released._Run(make_cnn(), problem, duck_released.Settings(**BASE, **OFF))
    distance = [1 - torch.cosine_similarity(run.centres, e[None]) for e in intended.fixed]
    assert all(float(d.min()) < 1e-6 for d in distance)


def test_later_epochs_read_entry_b_of_the_list_for_batch_b(
    make_images, make_cnn, make_problem, monkeypatch
):
    seen = []
    original = duck.forget_loss
    monkeypatch.setattr(duck, "forget_loss", lambda e, t: seen.append(t) or original(e, t))
    unlearned(make_images, make_cnn, make_problem, (1,), {"targets": "released"}, epochs=2)
    first, second = seen[:9], seen[9:]  # three batches of three steps in each epoch
    assert len(second) == 9
    for batch, step in itertools.product(range(3), range(3)):
        used = second[3 * batch + step]
        assert torch.equal(used, first[batch][: len(used)])  # made for batch 0 at step `batch`


def test_the_first_phases_centroids_come_from_the_named_batches(
    make_images, make_cnn, make_problem
):
    with pytest.raises(ValueError, match="no retained sample of class"):
        unlearned(make_images, make_cnn, make_problem, (1,), {"centroid_batches": 1}, batch_size=2)


@pytest.mark.parametrize(("forget_classes", "batches"), [((1,), 1), ((), 3)])
def test_the_second_phase_adds_two_epochs_of_joint_batches(
    forget_classes, batches, make_images, make_cnn, make_problem
):
    """One retained batch here (fewer images than 512), beside one or each forget batch."""
    args = make_images, make_cnn, make_problem, forget_classes
    plain = unlearned(*args, {})[1].updates
    assert unlearned(*args, {"second_phase": True})[1].updates == plain + 2 * batches
    none = unlearned(*args, {"second_phase": True}, lambda_forget=0.0)[1].updates
    assert none == unlearned(*args, {}, lambda_forget=0.0)[1].updates
