"""The scenarios that an experiment may name: which images are forgotten."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from unlearning.data.download import expanded
from unlearning.data.forget_lists import read_list
from unlearning.recipe import Number, Strict, shown

Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1)]


def unique(values: list, what: str) -> list:
    """`values`, if none is given twice; ValueError names what does."""
    texts = [v if isinstance(v, str) else shown(v) for v in values]
    repeated = sorted(text for text, times in Counter(texts).items() if times > 1)
    if repeated:
        raise ValueError(
            f"{what} {', '.join(repeated[:6])} is given twice: "
            "both would write the same files; keep one"
        )
    return values


class Draw(Strict):
    """Growing random sets of classes: for each seed the classes 0..of-1 in an order of its own.

    Each of `counts` is one forget set: the first so many classes of that order.
    """

    of: int = Field(gt=1)
    counts: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)
    seeds: Seeds

    @model_validator(mode="after")
    def _some_stay(self) -> Draw:
        unique(self.counts, "count")
        unique(self.seeds, "seed")
        if max(self.counts) >= self.of:
            raise ValueError(f"counts: at most {self.of - 1} of {self.of} classes can be removed")
        return self


class ClassRemoval(Strict):
    """Class removal: each entry of `forget` is one forget set, a class or a list of classes.

    draw: more forget sets, of classes drawn at random.
    """

    forget: list[int | list[int]] | None = Field(None, min_length=1)
    draw: Draw | None = None

    @field_validator("forget")
    @classmethod
    def _distinct(cls, entries: list | None) -> list | None:
        if entries is None:
            return None
        for entry in entries:
            if isinstance(entry, list):
                if not entry:
                    raise ValueError("an empty list forgets nothing; name at least one class")
                unique(entry, "class")
        unique([sorted(e) if isinstance(e, list) else [e] for e in entries], "forget set")
        return entries

    @model_validator(mode="after")
    def _any(self) -> ClassRemoval:
        if self.forget is None and self.draw is None:
            raise ValueError("give forget, a list of classes or of lists of them, or draw")
        return self


class HomogeneousRemoval(Strict):
    """Homogeneous removal: a random share of the training images, all classes alike.

    Give `fraction` in (0, 1) or `count`. indices: `own` draws from this project's
    seeds; `release` draws the authors' own indices (CIFAR-10, CIFAR-100, TinyImageNet).
    """

    fraction: Number | None = Field(None, gt=0, lt=1)
    count: int | None = Field(None, gt=0)
    split_seeds: Seeds
    indices: Literal["own", "release"] = "own"

    @field_validator("split_seeds")
    @classmethod
    def _distinct(cls, seeds: list) -> list:
        return unique(seeds, "seed")

    @model_validator(mode="after")
    def _one_size(self) -> HomogeneousRemoval:
        given = (self.fraction is not None) + (self.count is not None)
        if self.indices == "own" and given != 1:
            raise ValueError("give exactly one of fraction, in (0, 1), and count")
        if self.indices == "release" and given:
            raise ValueError("the release's indices fix their own size: drop fraction and count")
        return self


class ShortcutRemoval(Strict):
    """The paper's bias experiment: poisoned images teach a shortcut, and just they are forgotten.

    images: how many training images of class `source` carry a bright square of `patch` pixels
    and the wrong `label`; which ones follows from `seed`.
    """

    source: int = Field(ge=0)
    label: int = Field(ge=0)
    images: int = Field(gt=0)
    patch: int = Field(gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _wrong(self) -> ShortcutRemoval:
        if self.source == self.label:
            raise ValueError(f"label: {self.label} is the source's own class, so nothing is wrong")
        return self


class Listed(Strict):
    """A forget list as a checked config has it. The hash identifies it, not where it lies."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    images: int = Field(gt=0)


def _listed(entries: Any) -> Any:
    """The forget lists that a config names, one or several, each read and with its hash."""
    entries = entries if isinstance(entries, list) else [entries]
    return [_read(entry) if isinstance(entry, str) else entry for entry in entries]


def _read(path: str) -> dict[str, Any]:
    found = read_list(expanded(path))
    return {"path": path, "sha256": found.sha256, "images": len(found.rows)}


class SampleRemoval(Strict):
    """Sample removal: each CSV file of `file`, one or a list, is one forget set (forget_lists)."""

    file: Annotated[list[Listed], BeforeValidator(_listed)] = Field(min_length=1)

    @field_validator("file")
    @classmethod
    def _distinct(cls, lists: list) -> list:
        first: dict[str, str] = {}
        for one in lists:
            if one.sha256 in first:
                raise ValueError(
                    f"{first[one.sha256]} and {one.path} have the same content; keep one"
                )
            first[one.sha256] = one.path
        return lists


class SubclassRemoval(Strict):
    """Sub-class removal: each name of `forget` is one forget set, within a class that stays."""

    forget: list[str] = Field(min_length=1)

    @field_validator("forget")
    @classmethod
    def _distinct(cls, names: list) -> list:
        return unique(names, "sub-class")


class Scenarios(Strict):
    """The scenarios of one experiment; at least one. The shortcut stands alone: its data differ."""

    class_removal: ClassRemoval | None = None
    homogeneous_removal: HomogeneousRemoval | None = None
    shortcut_removal: ShortcutRemoval | None = None
    sample_removal: SampleRemoval | None = Field(None, exclude_if=lambda value: value is None)
    subclass_removal: SubclassRemoval | None = Field(None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _any(self) -> Scenarios:
        usual = [name for name in type(self).model_fields if name != "shortcut_removal"]
        given = any(getattr(self, name) is not None for name in usual)
        if not given and self.shortcut_removal is None:
            raise ValueError(f"name at least one of {', '.join(usual)}")
        if given and self.shortcut_removal is not None:
            raise ValueError("shortcut_removal poisons the data: give it an experiment of its own")
        return self
