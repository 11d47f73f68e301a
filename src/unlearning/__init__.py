"""Machine unlearning by DUCK and its competitors: data, models, methods, metrics, stages.

`from unlearning import duck` gives what `unlearning.library.public` offers: docs/library.md.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearning.library.public import *  # noqa: F403

_FOLDER = os.path.dirname(__file__)


def __getattr__(name: str) -> Any:
    """A public name. Its first use imports torch; a module of this package is not looked up so."""
    module = os.path.join(_FOLDER, name)
    if name.startswith("_") or os.path.exists(module) or os.path.exists(f"{module}.py"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("unlearning.library.public"), name)


def __dir__() -> list[str]:
    return importlib.import_module("unlearning.library.public").__all__
