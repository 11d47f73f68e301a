"""Every random choice in the project draws its seed here, from the identity of what it is for."""

from __future__ import annotations

import hashlib


def seed_for(*parts: str | int) -> int:
    """A seed in [0, 2**63) that is a fixed function of `parts`.

    Different parts give independent seeds, so adding a method or a split never
    shifts the random numbers of another one (as in DomainBed's cell hashes).

    Raises TypeError for a part that is neither text nor an integer: floats and
    objects have no stable text form.
    """
    for part in parts:
        if not isinstance(part, (str, int)) or isinstance(part, bool):
            raise TypeError(f"seed_for takes text and integers, not {part!r}")
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
