"""The optimizers are torch's, bit for bit, and do not load its compiler."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from unlearning.training import optim

CASES = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
    "Adam": {"lr": 0.01, "weight_decay": 0.1},
}


def five_steps(kind, options):
    """Weights after five steps, with a save and a load of the state between them."""
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(4))]
    optimizer = kind(weights, **options)
    for step in range(5):
        loss = sum(w.pow(4).sum() for w in weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step == 2:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = kind(weights, **options)
            optimizer.load_state_dict(state)
    return weights


@pytest.mark.parametrize("name", CASES)
def test_the_arithmetic_is_torchs_own(name):
    ours = five_steps(getattr(optim, name), CASES[name])
    theirs = five_steps(getattr(torch.optim, name), CASES[name])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    other = five_steps(getattr(optim, name), CASES[name] | {"weight_decay": 0.0})
    assert not any(torch.equal(a, b) for a, b in zip(ours, other, strict=True))


STEP = """
import sys, torch
from {module} import SGD
weight = torch.nn.Parameter(torch.ones(3))
optimizer = SGD([weight], lr=0.1)
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("module", "loaded"), [("unlearning.training.optim", False), ("torch.optim", True)]
)
def test_a_step_does_not_load_the_compiler(module, loaded):
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(loaded)
