"""The blocks of an experiment: variants, parts, search, attacks, and what studies look at."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from unlearning.config.scenarios import Scenarios, Seeds, unique
from unlearning.methods import SHARE
from unlearning.recipe import Strict, shown

STUDIES = ("feature_space", "multiple_classes", "ablation", "architectures", "shortcut")


class Features(Strict):
    """How a feature_space study looks at embeddings (analysis.density, analysis.geometry).

    components: principal components of the density; percentiles: of the distances to a class's
    centre, the radii of its balls; images: of the test images for silhouettes, and of the
    training images in the map, at most so many.
    """

    components: int = Field(100, gt=1)
    percentiles: list[Annotated[int, Field(gt=0, le=100)]] = Field(
        default_factory=lambda: [70, 75, 80, 85, 90, 95], min_length=1
    )
    images: int = Field(1000, gt=30)


class Attributions(Strict):
    """SHAP values of a study's models (analysis.attributions).

    images: explained a forget set and training seed; evaluations: of the model an image; blur:
    side in pixels of the blur that stands for a missing region.
    """

    images: int = Field(gt=0)
    evaluations: int = Field(500, gt=2)
    blur: int = Field(16, gt=0)


FEWEST_PER_EXAMPLE = 16
"""Shadow models from which on LiRA's Gaussians have a variance for each example."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+=-]*$", max_length=80)]


class Variant(Strict):
    """A method under a name of its own, with settings that differ from its file's.

    settings_from: which of its file's, where not those that the experiment takes.
    """

    name: Name
    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    settings_from: Literal["published", "searched"] | None = None


Share = Annotated[str, Field(pattern=f"^{SHARE.pattern}$")]


class Tuning(Strict):
    """The search that `snakemake tune` makes for an experiment: its forget sets and seeds.

    budget: candidates a method and round, the same for all: points of its space (config.spaces).
    methods: those to search; without it all of the experiment. judged_on: `held_out`, a fifth of
    the training images, for which the search trains originals of its own; or `test_half`, the
    first half of the test images: it then takes the run's originals, of the seeds and evaluation
    that they have, and searched settings are reported on the second half (`test_half`). share: of
    D_f and of D_r, `1/K`, that a method is given in the search, None for all: with batch sizes
    that are shares of those parts, a pass has as many steps as on all of them.
    """

    train_seeds: Seeds
    scenarios: Scenarios
    budget: int = Field(16, gt=0, le=128)  # the points of configs/search_points.csv
    methods: list[str] | None = Field(None, min_length=1)
    judged_on: Literal["held_out", "test_half"] = "held_out"
    share: Share | None = None

    @field_validator("scenarios")
    @classmethod
    def _drawn_alone(cls, scenarios: Scenarios) -> Scenarios:
        if scenarios.sample_removal:
            raise ValueError("a search is not judged on a list; search with homogeneous_removal")
        if scenarios.subclass_removal:
            raise ValueError("a search has no sub-classes; search with homogeneous_removal")
        return scenarios


def variance_for(models: int) -> str:
    """The variance of LiRA's Gaussians that errs less with a pool of so many models.

    Measured beside the exact likelihood ratio (docs/metrics.md, measure_lira_variance.py).
    """
    return "per_example" if models >= FEWEST_PER_EXAMPLE else "global"


class Attacks(Strict):
    """The membership attacks on an experiment's models (metrics.membership).

    shadows: shadow models in the pool, an even number from 4 on; each pair is trained on
    complementary random halves of all images. variance: of LiRA's Gaussians, `per_example`, or
    `global`, one for all examples; unless given, by the number of shadow models (`variance_for`).
    """

    shadows: int = Field(ge=4, le=1024, multiple_of=2)
    variance: Literal["per_example", "global"] | None = Field(None, validate_default=True)

    @field_validator("variance")
    @classmethod
    def _by_number(cls, variance: str | None, info: ValidationInfo) -> str:
        return variance or variance_for(info.data.get("shadows", 0))


class Part(Strict):
    """Some cells of an experiment: methods x forget sets x training seeds.

    The original is always among the methods, the oracle only where it is listed. train_seeds: the
    experiment's, unless given.
    """

    name: Name
    methods: list[str | Variant] = Field(min_length=1)
    scenarios: Scenarios
    train_seeds: Seeds | None = None

    @field_validator("train_seeds")
    @classmethod
    def _distinct(cls, seeds: list | None) -> list | None:
        return seeds and unique(seeds, "seed")

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list, info: ValidationInfo) -> list:
        return checked_methods(methods, info, implied=("original",))

    @property
    def variants(self) -> list[Variant]:
        """Every method as a variant, the original first."""
        return [Variant(name="original", method="original"), *as_variants(self.methods)]


def as_variants(methods: Iterable[str | Variant]) -> list[Variant]:
    return [Variant(name=m, method=m) if isinstance(m, str) else m for m in methods]


def checked_methods(methods: list, info: ValidationInfo, implied: tuple[str, ...]) -> list:
    """`methods`, if each is known and none is named twice or is one of the implied references."""
    for variant in as_variants(methods):
        if variant.method in implied:
            raise ValueError(
                f"{variant.method} is a reference and always part of the grid; drop it"
            )
        if info.context:
            one_of(variant.method, info.context["methods"], "method")
    unique([*(v.name for v in as_variants(methods)), *implied], "method")
    return methods


def one_of(name: str, known, what: str) -> str:
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown {what} {shown(name)}; {hint}known: {', '.join(known)}")
    return name
