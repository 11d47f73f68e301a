"""Parse a job's minutes, memory and GPUs in the usual units."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from unlearning.recipe import Strict

MOST_DAYS = 14
"""Of a job; a second attempt asks for twice as much."""
LEAST_MB, MOST_MB = 256, 4_000_000
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_TIME_FORMS = "write minutes, 720, or a text like 12h, 1d, 12:00:00 or 1-12:00:00"
_MEMORY_FORMS = "write MB, 4000, or a text like 4GB, 4000MB or 4GiB"


def minutes(value: Any) -> Any:
    """Whole minutes, rounded up, of a text like 2h, 1d 12h, 12:00:00 or 1-12:00:00.

    [D-]H:M:S, D-H and D-H:M are SLURM's forms. Any value but text is returned as it is. Raises
    ValueError for another text, 1:30 among them: hours and minutes, or minutes and seconds?
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"[0-9]+:[0-9]+", text):
        raise ValueError(
            f"{value} may be hours and minutes or minutes and seconds; write {text}:00 or 00:{text}"
        )
    clock = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+)(?::([0-5][0-9]))?(?::([0-5][0-9]))?", text)
    if clock and (clock[1] or clock[4]):
        days, hours, past, seconds = (int(part or 0) for part in clock.groups())
        return math.ceil((((days * 24 + hours) * 60 + past) * 60 + seconds) / 60)
    parts = re.findall(rf"({_NUMBER})\s*([a-z]+)", text)
    if not re.fullmatch(rf"(?:{_NUMBER}\s*[a-z]+\s*)+", text) or any(
        unit not in _SECONDS for _, unit in parts
    ):
        raise ValueError(f"not a time: {value!r}; {_TIME_FORMS}")
    return math.ceil(sum(Fraction(number) * _SECONDS[unit] for number, unit in parts) / 60)


def megabytes(value: Any) -> Any:
    """Whole MB (10^6 bytes), rounded up, of a text like 4GB, 4G, 4000MB or 4GiB (1024^3 bytes).

    Units as Snakemake reads them. Any value but text is returned as it is; ValueError for others.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(rf"({_NUMBER})\s*([kmgt])(?:(i)?b)?", value.strip().lower())
    if not found:
        raise ValueError(f"not an amount of memory: {value!r}; {_MEMORY_FORMS}")
    size = (1024 if found[3] else 1000) ** ("kmgt".index(found[2]) + 1)
    return math.ceil(Fraction(found[1]) * size / 10**6)


def _possible_runtime(value: int) -> int:
    if value > MOST_DAYS * 24 * 60:
        raise ValueError(
            f"{value} minutes are {value / 1440:.4g} days, the most is {MOST_DAYS}; "
            f"{_TIME_FORMS} ({value} seconds are {math.ceil(value / 60)} minutes)"
        )
    return value


def _possible_memory(value: int) -> int:
    if not LEAST_MB <= value <= MOST_MB:
        raise ValueError(f"{value} MB are not between {LEAST_MB} and {MOST_MB} MB; {_MEMORY_FORMS}")
    return value


def _one_gpu(value: int) -> int:
    if value > 1:
        raise ValueError(f"a job computes on one GPU, got {value}; write 1 or 0")
    return value


class Resources(Strict):
    """What one training or unlearning job asks of a scheduler; a second attempt asks for more.

    runtime: minutes, or a text that `minutes` understands, at most MOST_DAYS. mem_mb: MB, or a
    text that `megabytes` understands. gpu: 1 for a job that must have a GPU (runtime.gpus).
    """

    runtime: Annotated[int, BeforeValidator(minutes), AfterValidator(_possible_runtime)] = Field(
        30, gt=0
    )
    mem_mb: Annotated[int, BeforeValidator(megabytes), AfterValidator(_possible_memory)] = 3000
    gpu: Annotated[int, AfterValidator(_one_gpu)] = Field(0, ge=0)
    threads: int = Field(1, gt=0)
