"""Every method, found by itself: what it may read, its settings, and its steps by hand."""

from __future__ import annotations

import copy
import itertools
import re
from pathlib import Path

import pytest
import torch
from conftest import METHOD_FILES, ROOT
from torch import nn

from unlearning import methods
from unlearning.config import hyperparameters
from unlearning.config.scenarios import Scenarios
from unlearning.data.catalogue import catalogue
from unlearning.methods import random_labels
from unlearning.methods.base import AccessError, NotDefined, Problem
from unlearning.models import FAMILIES
from unlearning.models.base import Classifier
from unlearning.training.loop import Diverged

FOLDER = Path(methods.__file__).parent
METHODS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "base"))
REFERENCES = ("original", "original_erm", "oracle")
REAL = [name for name in METHODS if name not in REFERENCES]
SCENARIOS = ("class_removal", "homogeneous_removal")
IN_BOTH = [
    name for name in METHODS if hyperparameters.defined(name, "homogeneous_removal", METHOD_FILES)
]
CASES = {
    "one class": {"forget_classes": (1,)},
    "two classes": {"forget_classes": (0, 2)},
    "homogeneous": {"forget_classes": ()},
}
DEFINED = [
    (name, case) for name in METHODS for case in CASES if name in IN_BOTH or case != "homogeneous"
]
FEW = re.compile("epochs|noise_steps|noise_copies")
NAMES = {"dataset": "fashion_mnist_mini", "arch": "strided_cnn", "scenario": "class_removal"}


def settings_of(name, **changes):
    """The method's own defaults, with few epochs and small batches where it has such keys."""
    found = hyperparameters.resolve(name, NAMES, {}, METHOD_FILES)
    found |= {key: min(value, 2) for key, value in found.items() if FEW.search(key)}
    found |= {key: min(value, 8) for key, value in found.items() if "batch_size" in key}
    if name == "ssd":
        found["alpha"] = 1.2  # the tests forget a large share: with more no weight is selected
    return methods.load(name).Settings(**found | changes)


def run(name, model, problem, **changes):
    """Unlearn a copy; torch's own generator starts from the seed, as in the stage."""
    torch.manual_seed(problem.seed)
    problem.touches = methods.load(name).TOUCHES
    return methods.load(name).unlearn(copy.deepcopy(model), problem, settings_of(name, **changes))


def equal(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_methods_are_found():
    assert {"original", "oracle", "duck", "fine_tuning"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_module_offers_what_a_method_must(name):
    module = methods.load(name)
    assert (
        isinstance(module.TOUCHES, frozenset)
        and {"retain", "forget", "surrogate"} >= module.TOUCHES
    )
    optional = {f for f, info in module.Settings.model_fields.items() if not info.is_required()}
    assert optional <= set(hyperparameters.OFFERED)
    assert callable(module.unlearn)


# --- in every situation ---


@pytest.mark.parametrize(("name", "case"), DEFINED)
def test_it_runs_and_gives_a_finite_model(name, case, make_images, make_start, make_problem):
    model, problem = make_start(name), make_problem(make_images(), **CASES[case])
    found = run(name, model, problem)
    assert isinstance(found, Classifier) and found.state_dict().keys() == model.state_dict().keys()
    assert all(torch.isfinite(tensor).all() for tensor in found.state_dict().values())
    assert equal(found, model) == (name in REFERENCES)
    assert (problem.updates == 0) == (name in REFERENCES)


@pytest.mark.parametrize("name", METHODS)
def test_it_runs_with_another_width(name, make_images, make_start, make_problem):
    model = make_start(name, width=3)
    found = run(name, model, make_problem(make_images()))
    assert found.head.weight.shape == (4, 108)


@pytest.mark.parametrize("name", [name for name in REAL if name not in IN_BOTH])
def test_where_its_paper_does_not_define_it_it_says_so(name, make_images, make_start, make_problem):
    with pytest.raises(NotDefined, match="homogeneous_removal"):
        run(name, make_start(name), make_problem(make_images(), forget_classes=()))


@pytest.mark.parametrize("name", REAL)
def test_it_runs_with_batches_larger_than_the_data(name, make_images, make_start, make_problem):
    some = {"forget_classes": (), "forget": 5} if name in IN_BOTH else {}
    problem = make_problem(make_images(), **some)
    large = {k: 1000 for k in methods.load(name).Settings.model_fields if "batch_size" in k}
    run(name, make_start(name), problem, **large)
    assert problem.updates > 0


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(
    name, make_images, make_start, make_problem
):
    data, model = make_images(), make_start(name)
    problem = make_problem(data)
    untouched = problem.generator.get_state()
    first = run(name, model, problem)
    again, other = (run(name, model, make_problem(data, seed=seed)) for seed in (7, 8))
    assert equal(first, again)
    random = not torch.equal(problem.generator.get_state(), untouched)
    assert equal(first, other) == (not random)
    assert random or name in REFERENCES


@pytest.mark.parametrize("name", METHODS)
def test_unlearning_a_copy_leaves_the_original_alone(name, make_images, make_start, make_problem):
    model = make_start(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    run(name, model, make_problem(make_images()))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_returns_the_weights_it_was_given(name, make_images, make_start, make_problem):
    model = make_start(name)
    before = copy.deepcopy(model)
    found = methods.load(name).unlearn(model, make_problem(make_images()), settings_of(name))
    assert equal(found, before)


@pytest.mark.parametrize("name", REAL)
def test_a_model_that_is_not_a_number_is_refused(name, make_images, make_start, make_problem):
    model = make_start(name)
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
        model.backbone[0].weight.fill_(torch.nan)
    with pytest.raises(Diverged, match="nan after 0 updates"):
        run(name, model, make_problem(make_images()))


def test_a_loss_that_becomes_infinite_is_refused(make_images, make_start, make_problem):
    with pytest.raises(Diverged, match=r"after [1-9]"):
        run(
            "negative_gradient",
            make_start("negative_gradient"),
            make_problem(make_images()),
            lr=1e30,
        )


# --- what a method may read ---


@pytest.mark.parametrize("part", ["retain", "forget"])
@pytest.mark.parametrize("name", METHODS)
def test_data_that_are_not_declared_cannot_be_asked_for(name, part, make_images, make_problem):
    touches = methods.load(name).TOUCHES
    problem = make_problem(make_images(), touches=touches)
    if part in touches:
        assert len(problem.indices(part)) in (12, 36)
        return
    with pytest.raises(AccessError, match=f"not {part}"):
        problem.indices(part)
    with pytest.raises(AccessError, match=f"not {part}"):
        next(problem.batches(part, 4))


def test_the_stop_test_may_not_read_what_the_method_does_not_declare(
    make_images, make_start, make_problem
):
    with pytest.raises(AccessError, match="not forget"):
        run("fine_tuning", make_start("fine_tuning"), make_problem(make_images()), stop="test")


class Asked(Problem):
    """A problem that keeps which part was asked for."""

    def __post_init__(self):
        super().__post_init__()
        self.parts = set()

    def indices(self, part):
        self.parts.add(part)
        return super().indices(part)


@pytest.mark.parametrize(("name", "case"), DEFINED)
def test_it_reads_the_parts_that_it_declares_and_no_others(
    name, case, make_images, make_start, make_problem, watch
):
    data = watch(make_images())
    problem = make_problem(data, problem=Asked, **CASES[case])
    run(name, make_start(name), problem)
    declared = set() if name in REFERENCES else set(methods.load(name).TOUCHES)
    parts = {"retain": set(problem.retain.tolist()), "forget": set(problem.forget.tolist())}
    for seen in (data.images.positions, data.labels.positions):
        found = {part for part, positions in parts.items() if positions & seen}
        assert found == declared - {"surrogate"}
    assert problem.parts == declared


def test_the_recorder_of_readings_sees_a_method_that_cheats(make_images, make_problem, watch):
    data = watch(make_images())
    problem = make_problem(data, touches=("forget",))
    problem.train.batch(problem.retain[:3])
    assert data.images.positions == set(problem.retain[:3].tolist())


# --- settings files ---


def cells():
    return [
        {"dataset": dataset, "arch": arch, "scenario": scenario}
        for dataset, arch, scenario in itertools.product(
            catalogue(ROOT / "configs" / "datasets.csv"), FAMILIES, Scenarios.model_fields
        )
    ]


@pytest.mark.parametrize("name", METHODS)
def test_settings_files_fit_the_method_everywhere(name):
    settings = methods.load(name).Settings
    for cell in cells():
        found = hyperparameters.resolve(name, cell, {}, METHOD_FILES)
        needed = {name for name, field in settings.model_fields.items() if field.is_required()}
        assert needed <= found.keys() <= settings.model_fields.keys(), cell
        settings(**found)


@pytest.mark.parametrize("name", METHODS)
def test_every_override_applies_somewhere(name):
    blocks = hyperparameters.load(METHOD_FILES / f"{name}.yaml")
    for block in blocks["overrides"]:
        found = [
            cell
            for cell in cells()
            if all(cell[key] in hyperparameters._listed(v) for key, v in block["when"].items())
        ]
        assert found, f"{name}: {block['when']} names no data set, architecture or scenario"


def test_every_method_has_a_settings_file_and_every_file_a_method():
    assert hyperparameters.known_methods(METHOD_FILES) == METHODS


# --- the baselines' steps, written out ---


def linear_problem(make_images, make_problem, **case):
    data = make_images(double=True)
    torch.manual_seed(0)
    model = Classifier(nn.Flatten(), nn.Linear(144, 4)).double()
    return data, model, make_problem(data, **case)


STEPS = {"epochs": 3, "batch_size": 1000, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
STEPS |= {"milestones": [1], "stop": "never"}


def descend_by_hand(model, batches, sign=1.0, momentum=0.9, weight_decay=0.01):
    """SGD on the cross-entropy of a linear classifier, with the gradient in closed form."""
    weight, bias = (p.detach().clone() for p in (model.head.weight, model.head.bias))
    moved = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step, (x, labels) in enumerate(batches):
        scores = (x @ weight.T + bias).exp()
        error = scores / scores.sum(1, keepdim=True)
        for row, label in enumerate(labels.tolist()):
            error[row, label] -= 1
        error *= sign / len(x)
        gradients = error.T @ x + weight_decay * weight, error.sum(0) + weight_decay * bias
        moved = [momentum * m + g for m, g in zip(moved, gradients, strict=True)]
        lr = 0.05 if step < 1 else 0.025
        weight, bias = weight - lr * moved[0], bias - lr * moved[1]
    return weight, bias


def gap(model, by_hand) -> float:
    weight, bias = by_hand
    return max((model.head.weight - weight).abs().max(), (model.head.bias - bias).abs().max())


@pytest.mark.parametrize(
    ("name", "part", "sign"), [("fine_tuning", "retain", 1.0), ("negative_gradient", "forget", -1)]
)
def test_descent_and_climb_equal_sgd_by_hand(name, part, sign, make_images, make_problem):
    data, model, problem = linear_problem(make_images, make_problem)
    images, labels = data.batch(getattr(problem, part))
    batches = [(images.flatten(1), labels)] * 3
    found = run(name, model, problem, **STEPS)
    assert gap(found, descend_by_hand(model, batches, sign)) < 1e-12
    wrong = [
        descend_by_hand(model, batches, -sign),
        descend_by_hand(model, batches, sign, momentum=0.0),
        descend_by_hand(model, batches, sign, weight_decay=0.0),
        descend_by_hand(model, [(data.batch(torch.arange(48))[0].flatten(1), data.labels)] * 3),
    ]
    assert all(gap(found, other) > 1e-5 for other in wrong)


@pytest.mark.parametrize("case", CASES)
def test_random_labels_equal_sgd_by_hand_on_the_labels_drawn(case, make_images, make_problem):
    data, model, problem = linear_problem(make_images, make_problem, **CASES[case])
    allowed = [c for c in range(4) if c not in problem.forget_classes]
    generator = torch.Generator().manual_seed(problem.seed)
    batches, true = [], []
    for _ in range(3):
        order = torch.randperm(len(problem.forget), generator=generator)
        images, labels = data.batch(problem.forget[order])
        choice = torch.randint(len(allowed), (len(order),), generator=generator)
        batches.append((images.flatten(1), torch.tensor([allowed[i] for i in choice])))
        true.append((images.flatten(1), labels))
    found = run("random_labels", model, problem, **STEPS)
    assert gap(found, descend_by_hand(model, batches)) < 1e-12
    assert gap(found, descend_by_hand(model, true)) > 1e-5


@pytest.mark.parametrize("forget_classes", [(1,), (0, 2), ()])
def test_random_labels_are_uniform_over_what_stays(forget_classes, make_images, make_problem):
    problem = make_problem(make_images(), forget_classes=forget_classes)
    allowed = [c for c in range(4) if c not in forget_classes]
    drawn = random_labels.draw(torch.zeros(20_000), problem.retained_classes, problem.generator)
    counts = torch.bincount(drawn, minlength=4).tolist()
    share = 1 / len(allowed)
    noise = (20_000 * share * (1 - share)) ** 0.5
    for c in range(4):
        assert abs(counts[c] - 20_000 * share * (c in allowed)) <= 4 * noise * (c in allowed)


@pytest.mark.parametrize(
    "name", [n for n in REAL if "stop" in methods.load(n).Settings.model_fields]
)
def test_the_one_stop_rule_ends_every_method_that_may_read_what_is_forgotten(
    name, make_images, make_start, make_problem
):
    """With a target above any accuracy the first epoch passes the stop test."""
    if "forget" not in methods.load(name).TOUCHES or name == "boundary_expanding":
        return  # they may not read it, or hide it behind an output of their own
    problem = make_problem(make_images(), **CASES["one class"])
    run(name, make_start(name), problem, epochs=2, stop="validation", forget_target=1.0)
    seen = [accuracy < 1.0 for accuracy in problem.history]
    assert problem.stopped == any(seen) and len(problem.history) == (1 if seen[0] else 2)
