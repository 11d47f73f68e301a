"""The typed description of a run: its experiments, and how they must fit together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from unlearning.config.agreement import check_shared_models, check_study
from unlearning.config.blocks import (
    STUDIES,
    Attacks,
    Attributions,
    Features,
    Name,
    Part,
    Share,
    Tuning,
    Variant,
    checked_methods,
    one_of,
)
from unlearning.config.elsewhere import (
    Original,
    Unlearned,
    check_elsewhere,
    is_factory,
    with_arch,
)
from unlearning.config.fits import check_fits
from unlearning.config.own_data import DatasetName, OwnDataset
from unlearning.config.resources import Resources
from unlearning.config.scenarios import Scenarios, Seeds, unique
from unlearning.data.catalogue import DatasetInfo
from unlearning.methods import REFERENCES
from unlearning.models import FAMILIES, PRETRAINED
from unlearning.recipe import Number, Recipe, Strict


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
    `1/K` that a method is given; the model that it starts from has seen all; None: all. original,
    unlearned: models that were made elsewhere (config.elsewhere); beside such an original,
    `training` may be left out, and then there are no oracles and no shadow models.
    """

    dataset: str
    arch: str
    name: Name | None = None
    pretrained: bool = False
    head_dropout: Number = Field(0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluation: Literal["test", "validation"] = "test"
    original: Original | None = Field(None, exclude_if=lambda value: value is None)
    unlearned: dict[Name, Unlearned] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    training: Recipe | None = Field(None, validate_default=True)
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

    @model_validator(mode="before")
    @classmethod
    def _one_arch(cls, raw: Any) -> Any:
        return with_arch(raw)

    @field_validator("training")
    @classmethod
    def _trained(cls, training: Recipe | None, info: ValidationInfo) -> Recipe | None:
        if training is None and info.data.get("original", "wrong") is None:
            raise ValueError("this required key is missing")
        return training

    @field_validator("train_seeds", "unlearn_seeds")
    @classmethod
    def _distinct(cls, seeds: list) -> list:
        return unique(seeds, "seed")

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        return arch if is_factory(arch) else one_of(arch, FAMILIES, "architecture")

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, dataset: str, info: ValidationInfo) -> str:
        return one_of(dataset, info.context["datasets"], "data set") if info.context else dataset

    @field_validator("unlearned")
    @classmethod
    def _names_of_their_own(cls, unlearned: dict, info: ValidationInfo) -> dict:
        for name in unlearned if info.context else ():
            if name in info.context["methods"]:
                raise ValueError(f"{name} is a method of this repository; give it another name")
        return unlearned

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list | None, info: ValidationInfo) -> list | None:
        return methods and checked_methods(methods, info, implied=REFERENCES)

    @field_validator("epochs_at_most")
    @classmethod
    def _known_capped(cls, caps: dict, info: ValidationInfo) -> dict:
        for name in caps if info.context else ():
            one_of(name, info.context["methods"], "method")
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
                if value is None and not (key == "methods" and self.unlearned):
                    raise ValueError(f"{key}: this required key is missing; or give parts")
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
                check_fits(part.scenarios, dataset, self.evaluation)
            if (
                self.training
                and self.training.padding == "reflect"
                and self.training.crop >= dataset.size
            ):
                raise ValueError(
                    f"training.crop: {self.training.crop} pixels cannot be mirrored in images of "
                    f"{dataset.size}"
                )
        if self.pretrained and self.arch not in PRETRAINED:
            raise ValueError(
                f"pretrained: {self.arch} has no pretrained weights; set it to false, or use "
                f"one of {', '.join(PRETRAINED)}"
            )
        check_elsewhere(self)
        check_study(self)
        return self

    @property
    def label(self) -> str:
        """The name of the experiment's folder."""
        arch = self.arch.partition("@")[0].replace(":", ".")
        return self.name or f"{self.dataset}-{arch}"

    @property
    def has_oracles(self) -> bool:
        """Whether oracles are trained, where an experiment without parts has them."""
        return self.oracles and self.training is not None

    @property
    def listed(self) -> list[Part]:
        """The parts; of an experiment without them one, nameless, with its references."""
        if self.parts is not None:
            return self.parts
        methods = [*(["oracle"] if self.has_oracles else []), *(self.methods or [])]
        methods += [Variant(name=name, method="original") for name in self.unlearned]
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

    version: of the form of the file (CHANGELOG.md). datasets: of one's own, by name; the
    experiments, which come after them, know them. sources: where the files or images of a data
    set lie (data.sources), or a file of pretrained weights (data.weights), by its name. partial:
    collect what is there and show the rest as missing, instead of asking for every cell.
    mixed_code: let cells of one method that ran different code share a table. without_bfloat16:
    what a new job of `precision: bfloat16` does on a device without it (runtime.device).
    order: which parts, and which experiments that have none, are run first, by name; the others
    follow. models: the folder of another run, finished or not, whose originals, oracles, shadow
    models and cells are taken where they are the same (jobs.adoption). keep: `scores` removes the
    weights of an unlearned model once all that reads them has run.
    """

    run: Name
    datasets: dict[DatasetName, OwnDataset] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    experiments: list[Experiment] = Field(min_length=1)
    sources: dict[str, str] = Field(default_factory=dict)
    partial: bool = False
    mixed_code: bool = False
    without_bfloat16: Literal["stop", "float32"] = "stop"
    order: list[Name] | None = Field(None, min_length=1)
    models: str | None = Field(None, min_length=1)
    keep: Literal["all", "scores"] = "all"
    version: Literal[1] = 1

    @field_validator("datasets")
    @classmethod
    def _known_from_here(cls, datasets: dict, info: ValidationInfo) -> dict:
        if info.context:
            known = info.context["datasets"]
            for name in datasets:
                if name in known:
                    raise ValueError(
                        f"{name} is the name of a data set of the catalogue; choose another"
                    )
            known |= {name: own.info(name) for name, own in datasets.items()}
        return datasets

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: dict, info: ValidationInfo) -> dict:
        for name in sources if info.context else ():
            known = dict.fromkeys([*info.context["datasets"], *PRETRAINED.values()])
            one_of(name, known, "data set or weights")
        return sources

    @property
    def has_paper(self) -> bool:
        """Whether the paper can be about this run: a whole grid whose originals it trained."""
        return not self.partial and not any(e.original for e in self.experiments)

    @property
    def own_datasets(self) -> dict[str, DatasetInfo]:
        """The data sets of one's own, as the catalogue would describe them."""
        return {name: own.info(name) for name, own in self.datasets.items()}

    @model_validator(mode="after")
    def _sources_of_own(self) -> RunConfig:
        for name in self.datasets:
            if name not in self.sources:
                raise ValueError(f"sources: name the folder of {name}, as {name}: FOLDER")
        return self

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
                    one_of(name, names, "part or experiment")
                except ValueError as error:
                    raise ValueError(f"order: {error}") from None
        return self

    @model_validator(mode="after")
    def _own_cells(self) -> RunConfig:
        if self.keep == "scores" and self.models is not None:
            raise ValueError("keep: scores is for a run of its own cells; leave out models")
        return self

    @model_validator(mode="after")
    def _shared_models(self) -> RunConfig:
        check_shared_models(self.experiments)
        return self
