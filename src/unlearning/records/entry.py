"""Name the modules that a job starts from; `provenance.code_hash` follows their imports."""

from __future__ import annotations

from unlearning import models


def stage_modules(verb: str, arch: str | None = None, method: str | None = None) -> list[str]:
    """The entry modules of one verb: its stage, the model family and the method it loads."""
    modules = [f"unlearning.stages.{verb}"]
    if arch:
        modules += [f"unlearning.models.{name}" for name in models.modules(arch)]
    if method:
        modules.append(f"unlearning.methods.{method}")
    return modules
