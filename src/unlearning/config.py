"""The typed description of a run: what a config file may say, and errors that name the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from unlearning.methods import REFERENCES, SHARE
from unlearning.models import FAMILIES, PRETRAINED
from unlearning.recipe import VALIDATION_SHARE, Number, Recipe, Resolution, Strict, shown
from unlearning.resources import Resources
from unlearning.scenarios import (
    ClassRemoval,
    Draw,
    HomogeneousRemoval,
    Scenarios,
    Seeds,
    ShortcutRemoval,
    unique,
)
from unlearning.studies import (
    STUDIES,
    Attributions,
    Features,
    check_shared_models,
    check_study,
)
from unlearning.yaml_files import advice

if TYPE_CHECKING:
    from unlearning.data.catalogue import DatasetInfo

MOST = 20
"""So many problems of a config are shown."""
FEWEST_IMAGES = 2
"""To forget and to retain: BatchNorm cannot train on one."""
PUBLISHED = "-published"
"""What the name of a method's published settings ends in, beside the candidates of a search."""
MOST_VALUES = 100_000
"""In a config: more would not be checked within memory."""
FEWEST_PER_EXAMPLE = 16
"""Shadow models from which on LiRA's Gaussians have a variance for each example."""
RELEASE_INDICES = ("cifar10", "cifar100", "tiny_imagenet")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+=-]*$", max_length=80)]


class ConfigError(ValueError):
    """A setting that cannot be used; the message names file, key and what would be right."""


class Variant(Strict):
    """A method under a name of its own, with settings that differ from its file's.

    settings_from: which of its file's, where not those that the experiment takes.
    """

    name: Name
    method: str
    settings: dict[str, Any] = Field(default_factory=dict)
    settings_from: Literal["published", "searched"] | None = None


Share = Annotated[str, Field(pattern=f"^{SHARE.pattern}$")]
RETAIN_EVALUATED = 1000
"""Retained training images that a search on a share evaluates: its objective needs none."""


class Tuning(Strict):
    """The search that `snakemake tune` makes for an experiment: its forget sets and seeds.

    budget: candidates a method and round, the same for all: points of its space (spaces.py).
    methods: those to search; without it all of the experiment. judged_on: `held_out`, a fifth of
    the training images, for which the search trains originals of its own; or `test_half`, the
    first half of the test images: it then takes the run's originals, of the seeds and evaluation
    that they have, and searched settings are reported on the second half (`test_half`). share: of
    D_f and of D_r, `1/K`, that a method is given in the search, None for all: with batch sizes
    that are shares of those parts, a pass has as many steps as on all of them.
    """

    train_seeds: Seeds
    scenarios: Scenarios
    budget: int = Field(16, gt=0)
    methods: list[str] | None = Field(None, min_length=1)
    judged_on: Literal["held_out", "test_half"] = "held_out"
    share: Share | None = None


def variance_for(models: int) -> str:
    """The variance of LiRA's Gaussians that errs less with a pool of so many models.

    Measured beside the exact likelihood ratio (paper/METRICS.md, measure_lira_variance.py).
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
        return _checked_methods(methods, info, implied=("original",))

    @property
    def variants(self) -> list[Variant]:
        """Every method as a variant, the original first."""
        return [Variant(name="original", method="original"), *_as_variants(self.methods)]


class Experiment(Strict):
    """One data set and architecture: its originals, oracles, scenarios and methods.

    Either `scenarios` and `methods`, every method on every forget set, with the references; or
    `parts`, an ordered list of which only the listed cells are run, those of a part before those
    of the next. oracles: false leaves the oracles out of an experiment without parts. study: part
    of `snakemake understanding`, not of runs.csv and its tables. models_of: another experiment of
    the same model and recipe, whose originals and oracles these are. retain_evaluated: of the
    training images all that are forgotten and so many of the others, drawn once for the data set,
    are evaluated; None: all. epochs_at_most: a cap on the epochs of a method, by name; a cell that
    it cut short is marked `capped`. settings_from: which settings of the methods' files,
    `published` or what a search found (`searched`). test_half: the fixed half of the test images on
    which accuracies, AUS and distances are measured; None: all. given: of D_f and of D_r, the share
    `1/K` that a method is given; the model that it starts from has seen all; None: all.
    """

    dataset: str
    arch: str
    name: Name | None = None
    pretrained: bool = False
    head_dropout: Number = Field(0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluation: Literal["test", "validation"] = "test"
    training: Recipe
    scenarios: Scenarios | None = None
    methods: list[str | Variant] | None = Field(None, min_length=1)
    parts: list[Part] | None = Field(None, min_length=1)
    oracles: bool = True
    retain_evaluated: int | None = Field(None, gt=0)
    epochs_at_most: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    train_seeds: Seeds
    unlearn_seeds: Seeds = Field(default_factory=lambda: [0])
    settings_from: Literal["published", "searched"] = "published"
    test_half: Literal["first", "second"] | None = None
    given: Share | None = None
    resources: Resources = Resources()
    tuning: Tuning | None = None
    attacks: Attacks | None = None
    study: Literal[STUDIES] | None = None
    models_of: Name | None = None
    features: Features | None = None
    attributions: Attributions | None = None

    @field_validator("train_seeds", "unlearn_seeds")
    @classmethod
    def _distinct(cls, seeds: list) -> list:
        return unique(seeds, "seed")

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        return _known(arch, FAMILIES, "architecture")

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, dataset: str, info: ValidationInfo) -> str:
        return _known(dataset, info.context["datasets"], "data set") if info.context else dataset

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list | None, info: ValidationInfo) -> list | None:
        return methods and _checked_methods(methods, info, implied=REFERENCES)

    @field_validator("epochs_at_most")
    @classmethod
    def _known_capped(cls, caps: dict, info: ValidationInfo) -> dict:
        for name in caps if info.context else ():
            _known(name, info.context["methods"], "method")
        return caps

    @field_validator("parts")
    @classmethod
    def _distinct_parts(cls, parts: list | None) -> list | None:
        unique([part.name for part in parts or []], "part")
        return parts

    @model_validator(mode="after")
    def _one_form(self) -> Experiment:
        given = {"scenarios": self.scenarios, "methods": self.methods}
        if self.parts is None:
            for key, value in given.items():
                if value is None:
                    raise ValueError(f"{key}: this key is needed and missing, or give parts")
            return self
        for key, value in {**given, "study": self.study, "tuning": self.tuning}.items():
            if value is not None:
                raise ValueError(f"{key}: an experiment with parts has none; name it in the parts")
        if not self.oracles:
            raise ValueError("oracles: a part has an oracle only where it lists one; drop it")
        settings: dict[str, Variant] = {}
        for variant in (v for part in self.parts for v in part.variants):
            if settings.setdefault(variant.name, variant) != variant:
                raise ValueError(f"parts: {variant.name} has different settings in two parts")
        if any(part.scenarios.shortcut_removal for part in self.parts):
            raise ValueError("parts: shortcut_removal needs an experiment of its own")
        return self

    @model_validator(mode="after")
    def _fits_dataset(self, info: ValidationInfo) -> Experiment:
        if info.context:
            dataset = info.context["datasets"][self.dataset]
            for part in self.listed:
                self._check_classes(part.scenarios, dataset.classes)
                self._check_count(part.scenarios, dataset.train)
            if self.training.padding == "reflect" and self.training.crop >= dataset.size:
                raise ValueError(
                    f"training.crop: {self.training.crop} pixels cannot be mirrored in images of "
                    f"{dataset.size}"
                )
        if self.pretrained and self.arch not in PRETRAINED:
            raise ValueError(
                f"pretrained: {self.arch} has no pretrained weights; set it to false, or use "
                f"one of {', '.join(PRETRAINED)}"
            )
        check_study(self)
        return self

    def _check_classes(self, scenarios: Scenarios, classes: int) -> None:
        shortcut = scenarios.shortcut_removal
        for key in ("source", "label") if shortcut else ():
            if getattr(shortcut, key) >= classes:
                raise ValueError(
                    f"scenarios.shortcut_removal.{key}: class {getattr(shortcut, key)} is outside "
                    f"0..{classes - 1}, the classes of {self.dataset}"
                )
        removal = scenarios.class_removal
        if removal and removal.draw and removal.draw.of != classes:
            raise ValueError(
                f"scenarios.class_removal.draw.of: {self.dataset} has {classes} classes"
            )
        for entry in removal.forget or [] if removal else []:
            wanted = entry if isinstance(entry, list) else [entry]
            for label in wanted:
                if not 0 <= label < classes:
                    raise ValueError(
                        f"scenarios.class_removal.forget: class {label} is outside "
                        f"0..{classes - 1}, the classes of {self.dataset}"
                    )
            if len(wanted) == classes:
                raise ValueError(
                    "scenarios.class_removal.forget: all classes of "
                    f"{self.dataset} would go; nothing would be retained"
                )

    def _check_count(self, scenarios: Scenarios, train: int) -> None:
        removal = scenarios.homogeneous_removal
        if removal is None:
            return
        if removal.indices == "release" and self.dataset not in RELEASE_INDICES:
            raise ValueError(
                "scenarios.homogeneous_removal.indices: the release has indices for "
                f"{', '.join(RELEASE_INDICES)} alone, not for {self.dataset}; use own"
            )
        if removal.indices == "release" and self.evaluation == "validation":
            raise ValueError(
                "scenarios.homogeneous_removal.indices: the release's indices count through the "
                "whole training part; use own, or evaluation: test"
            )
        if removal.indices == "own":
            if self.evaluation == "validation":
                train -= int(VALIDATION_SHARE * train)
            size = removal.count or round(removal.fraction * train)
            if not FEWEST_IMAGES <= size <= train - FEWEST_IMAGES:
                key = "count" if removal.count else "fraction"
                raise ValueError(
                    f"scenarios.homogeneous_removal.{key}: {size} of the {train} training images "
                    f"of {self.dataset} would be forgotten; both parts need at least "
                    f"{FEWEST_IMAGES} images: BatchNorm cannot train on one"
                )

    @property
    def label(self) -> str:
        """The name of the experiment's folder."""
        return self.name or f"{self.dataset}-{self.arch}"

    @property
    def listed(self) -> list[Part]:
        """The parts; of an experiment without them one, nameless, with its references."""
        if self.parts is not None:
            return self.parts
        methods = [*(["oracle"] if self.oracles else []), *self.methods]
        fields = {"name": "", "methods": methods, "scenarios": self.scenarios, "train_seeds": None}
        return [Part.model_construct(**fields)]

    @property
    def variants(self) -> list[Variant]:
        """Every method as a variant, each once, the original first."""
        found = {v.name: v for part in self.listed for v in part.variants}
        return list(found.values())

    @property
    def poisoned(self) -> bool:
        """Whether its training data are poisoned: shortcut removal."""
        return self.scenarios is not None and self.scenarios.shortcut_removal is not None


class RunConfig(Strict):
    """A whole config file. `run` names the folder under results/.

    sources: where the files or images of a data set lie (data.sources), or a file of pretrained
    weights (data.weights), by its name. partial: collect what is there and show the rest as
    missing, instead of asking for every cell. mixed_code: let cells of one method that ran
    different code share a table. without_bfloat16: what a new job of `precision: bfloat16` does
    on a device without it (device.usable_precision). order: which parts, and which experiments
    that have none, are run first, by name; the others follow. models: the folder of another run,
    finished or not, whose originals, oracles, shadow models and cells are taken where they are
    the same (adoption).
    """

    run: Name
    experiments: list[Experiment] = Field(min_length=1)
    sources: dict[str, str] = Field(default_factory=dict)
    partial: bool = False
    mixed_code: bool = False
    without_bfloat16: Literal["stop", "float32"] = "stop"
    order: list[Name] | None = Field(None, min_length=1)
    models: str | None = Field(None, min_length=1)

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: dict, info: ValidationInfo) -> dict:
        for name in sources if info.context else ():
            known = dict.fromkeys([*info.context["datasets"], *PRETRAINED.values()])
            _known(name, known, "data set or weights")
        return sources

    @model_validator(mode="after")
    def _distinct_folders(self) -> RunConfig:
        unique([e.label for e in self.experiments], "experiment")
        return self

    @model_validator(mode="after")
    def _known_order(self) -> RunConfig:
        if self.order is not None:
            unique(self.order, "order")
            names = [part.name or e.label for e in self.experiments for part in e.listed]
            unique(names, "with an order, the name of a part")
            for name in self.order:
                try:
                    _known(name, names, "part or experiment")
                except ValueError as error:
                    raise ValueError(f"order: {error}") from None
        return self

    @model_validator(mode="after")
    def _shared_models(self) -> RunConfig:
        check_shared_models(self.experiments)
        return self


def tuning_experiment(
    experiment: Experiment, candidates: Mapping[str, Mapping[str, list[dict]]]
) -> Experiment:
    """The search for one experiment: each candidate a variant, scored on held-out images.

    candidates: the settings to try, by scenario and method; an original, which has none, runs once.
    The published settings of a method run beside its candidates, to be compared, not chosen.
    A scenario is a part of the search. Two scenarios share the name of a candidate, and its
    number, if its settings are the same in both.
    """
    numbers: dict[str, list[dict]] = {}
    parts = []
    for scenario, found in candidates.items():
        variants = []
        for method, settings in found.items():
            known = numbers.setdefault(method, [])
            known += [one for one in settings if one not in known]
            variants += [
                Variant(name=f"{method}-{known.index(one) + 1}", method=method, settings=one)
                for one in settings
            ]
            name = f"{method}{PUBLISHED}" if settings else method
            variants.append(Variant(name=name, method=method))
        only = Scenarios(**{scenario: getattr(experiment.tuning.scenarios, scenario)})
        fields = {"name": scenario, "methods": variants, "scenarios": only, "train_seeds": None}
        parts.append(Part.model_construct(**fields))
    where = {"evaluation": "validation", "models_of": None, "test_half": None}
    where["given"] = experiment.tuning.share
    if experiment.tuning.share:
        where["retain_evaluated"] = experiment.retain_evaluated or RETAIN_EVALUATED
    if experiment.tuning.judged_on == "test_half":
        home = experiment.models_of or experiment.label
        where = {"models_of": home, "test_half": "first"}
    changes = {
        **where,
        "name": f"{experiment.label}-tuning",
        "methods": None,
        "scenarios": None,
        "parts": parts,
        "train_seeds": experiment.tuning.train_seeds,
        "settings_from": "published",
        "tuning": None,
        "attacks": None,
    }
    return experiment.model_copy(update=changes)


def _as_variants(methods: Iterable[str | Variant]) -> list[Variant]:
    return [Variant(name=m, method=m) if isinstance(m, str) else m for m in methods]


def _checked_methods(methods: list, info: ValidationInfo, implied: tuple[str, ...]) -> list:
    """`methods`, if each is known and none is named twice or is one of the implied references."""
    for variant in _as_variants(methods):
        if variant.method in implied:
            raise ValueError(
                f"{variant.method} is a reference and always part of the grid; drop it"
            )
        if info.context:
            _known(variant.method, info.context["methods"], "method")
    unique([*(v.name for v in _as_variants(methods)), *implied], "method")
    return methods


def _known(name: str, known, what: str) -> str:
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown {what} {shown(name)}; {hint}known: {', '.join(known)}")
    return name


def parse(
    raw: Mapping[str, Any],
    file: str,
    datasets: Mapping[str, DatasetInfo] | None = None,
    methods: list[str] | None = None,
) -> RunConfig:
    """Check a config read from `file` and return it typed.

    With `datasets` and `methods` (the known ones) names and class numbers are checked
    too; without, only the form is, as for a config that was checked before.

    Raises ConfigError with one line a problem: file, key, what is wrong, what would be right.
    """
    context = {"datasets": datasets, "methods": methods} if datasets is not None else None
    _check_size(raw, file)
    try:
        return RunConfig.model_validate(raw, context=context)
    except ValidationError as error:
        errors = error.errors()
        problems = list(dict.fromkeys(_describe(e, file) for e in errors[: 2 * MOST]))[:MOST]
        if len(errors) > 2 * MOST:
            problems.append(f"{file}: (and so on): {len(errors)} problems in all")
        raise ConfigError("\n".join(problems)) from None


def _check_size(raw: Any, file: str) -> None:
    """Raise ConfigError for more values than a person writes: aliases of aliases in YAML."""
    waiting, seen = [raw], 0
    while waiting:
        value = waiting.pop()
        inside = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            seen += len(value)
            if seen > MOST_VALUES:
                raise ConfigError(f"{file}: (top level): more than {MOST_VALUES} values")
            waiting += inside


def _describe(error: Mapping[str, Any], file: str | Path) -> str:
    path = [p for p in error["loc"] if isinstance(p, int) or p in _KEYS]
    unknown = error["type"] == "extra_forbidden"
    if unknown:
        path = [p for p in error["loc"][:-1] if isinstance(p, int) or p in _KEYS]
        path.append(error["loc"][-1])
    key = ".".join(map(_name, path)) or "(top level)"
    if unknown:
        return f"{file}: {key}: unknown key; {_allowed(path)}"
    if error["type"] == "missing":
        return f"{file}: {key}: this key is needed and missing"
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {shown(error['input'])}"
    hint = advice(error["input"]) if error["type"] in ("int_type", "float_type") else ""
    return f"{file}: {key}: {message[0].lower()}{message[1:]}{got}{hint}"


def _name(key: Any) -> str:
    """A key as an error names it: as it stands in the file, if it is short and printable."""
    text = str(key)
    return text if text.isprintable() and len(text) < 60 else shown(key)


_BLOCKS = {
    "training": Recipe,
    "resolutions": Resolution,
    "parts": Part,
    "draw": Draw,
    "features": Features,
    "attributions": Attributions,
    "class_removal": ClassRemoval,
    "shortcut_removal": ShortcutRemoval,
    "homogeneous_removal": HomogeneousRemoval,
    "scenarios": Scenarios,
    "resources": Resources,
    "tuning": Tuning,
    "attacks": Attacks,
    "methods": Variant,
    "experiments": Experiment,
}
# The keys that a person reads in a file: pydantic's paths also name the branch of a union that
# it tried (`str`, `list[int]`, `Variant`).
_KEYS = {name for block in (RunConfig, *_BLOCKS.values()) for name in block.model_fields}


def _allowed(path: list) -> str:
    """The keys of the block in which the unknown key at the end of `path` stands."""
    blocks = [_BLOCKS[p] for p in path[:-1] if p in _BLOCKS]
    fields = list((blocks[-1] if blocks else RunConfig).model_fields)
    close = difflib.get_close_matches(str(path[-1]), fields, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(fields)}"
