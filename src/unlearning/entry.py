"""Where the code of a job begins: what `provenance.code_hash` follows the imports from."""

from __future__ import annotations

from unlearning.models import FAMILIES


def stage_modules(verb: str, arch: str | None = None, method: str | None = None) -> list[str]:
    """The entry modules of one verb: its stage, the model family and the method it loads."""
    modules = [f"unlearning.stages.{verb}"]
    if arch:
        modules.append(f"unlearning.models.{FAMILIES[arch]}")
    if method:
        modules.append(f"unlearning.methods.{method}")
    return modules
