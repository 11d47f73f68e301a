"""SGD and Adam without torch's compiler, whose import would cost every job about a second.

The methods of torch's optimizers are wrapped for `torch.compile`, and the wrappers import
`torch._dynamo` at their first call. These subclasses call what is inside the wrappers: the
arithmetic is torch's own, bit for bit. Nothing here is compiled, so nothing is lost.
"""

from __future__ import annotations

import inspect

import torch

WRAPPED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def _light(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """A subclass of `kind` with the same name and arithmetic, its methods unwrapped."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    methods["_patch_step_function"] = lambda self: None  # wraps `step` for torch's profiler
    methods["_zero_grad_profile_name"] = f"Optimizer.zero_grad#{kind.__name__}.zero_grad"
    return type(kind.__name__, (kind,), methods)


SGD = _light(torch.optim.SGD)
Adam = _light(torch.optim.Adam)
