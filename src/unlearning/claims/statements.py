"""The DUCK paper's claims as predicates: paper/claims.yaml, typed; `verdicts` judges them.

A claim is about the mean of one number a cell (forget set and training seed; unlearning seeds
and images of a cell are averaged first), which is
    level       the metric of `method`;
    difference  method less `against`, in the same cells;
    ratio       against over method, in the same cells: how many times as fast. Its mean is that
                of the logarithms, shown as exp;
and about one bound: the mean lies `above` b, `below` b, `within` [-d, d] or `outside` [-d, d].
An AUC of an attack is taken as its distance from chance, |AUC − 1/2|: an attacker who reverses a
score of 0.02 is right as often as one with 0.98, so over-forgotten images are told as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unlearning.config.yaml_files import advice, read_yaml
from unlearning.metrics import names
from unlearning.recipe import shown

FILES = {
    "runs": "runs",
    "multiple_classes": "studies",
    "ablation": "studies",
    "architectures": "studies",
    "features": "features",
    "attributions": "attributions",
    "shortcut": "shortcut",
}
"""The file that holds each table."""
AUCS = ("lira_auc", "lira_offline_auc", "released_attack_auc")
"""The attacks' AUC, of which a claim takes the distance from 1/2."""
RUN_UNITS = {
    **dict.fromkeys((*names.ACCURACIES, "accuracy_gap", "svc_chance_distance"), "fraction"),
    "aus": "AUS",
    **dict.fromkeys(AUCS, "AUC"),
    "js_forget": "bits",
    "unlearning_seconds": "s",
}
FEATURE_UNITS = {
    "log_density": "log density",
    "silhouette": "silhouette",
    "margin": "cosine distance",
    "reached": "fraction",
    "destination_distance": "fraction",
}
UNITS = {
    **dict.fromkeys(("runs", "multiple_classes", "ablation", "architectures"), RUN_UNITS),
    "features": FEATURE_UNITS,
    "attributions": {"correlation": "correlation"},
    "shortcut": dict.fromkeys(names.SHORTCUT, "fraction"),
}
"""The metrics of each table that a claim may be about, and their units."""
SIDES = ("above", "below", "within", "outside")
SIGNS = {"above": ">", "below": "<"}
"""How a side of a bound is written; the others as themselves."""
QUESTIONS = {
    "efficacy": "Does it forget, as a model does that never saw the images?",
    "utility": "Does it keep what it should?",
    "time": "Is it fast?",
    "privacy": "Can an attacker tell what was forgotten?",
    "inside": "What happens inside the model?",
}
"""What claims ask, in the order in which they are shown."""
KEPT = ("retain_train_accuracy", "retain_test_accuracy", "test_accuracy")

Text = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Claim(BaseModel):
    """One claim. table: which cells it is asked of; `multiple_classes` are those of two or more.

    method, against: names in the table; in `features` a part and a model (`forget duck`), in
    `attributions` a pair of models (`duck~oracle`). layer: of features; output: of attributions.
    no_control: why the claim cannot be asked of the original in the method's place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    claim: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    statement: Text
    source: Text
    scenario: Literal["class_removal", "homogeneous_removal", "shortcut_removal"]
    table: Literal[tuple(FILES)] = "runs"
    kind: Literal["level", "difference", "ratio"]
    metric: Text
    method: Text
    against: Text | None = None
    layer: Text | None = None
    output: Text | None = None
    family: Text | None = None
    no_control: Text | None = None
    above: Number | None = None
    below: Number | None = None
    within: Number | None = None
    outside: Number | None = None

    @model_validator(mode="after")
    def _possible(self) -> Claim:
        problem = next(self._problems(), None)
        if problem:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        known = UNITS[self.table]
        if self.metric not in known:
            yield f"metric: {self.metric!r} is none of {self.table}: {', '.join(known)}"
        if (self.against is None) != (self.kind == "level"):
            yield "against: a difference and a ratio need it, a level has none"
        if self.against == self.method:
            yield f"against: {self.against!r} is the method itself"
        for key, table in (("layer", "features"), ("output", "attributions")):
            if (getattr(self, key) is not None) != (self.table == table):
                yield f"{key}: {table} need it, nothing else has it"
        given = [side for side in SIDES if getattr(self, side) is not None]
        if len(given) != 1:
            yield f"{', '.join(given or SIDES)}: one bound is needed, got {len(given)}"
        elif given[0] in ("within", "outside") and self.bound <= 0:
            yield f"{given[0]}: must be more than 0, got {self.bound:g}"
        if self.kind == "ratio":
            if known[self.metric] != "s":
                yield f"metric: a ratio is of times, not of {self.metric}"
            if given[0] not in ("above", "below") or self.bound <= 0:
                yield f"{given[0]}: a ratio is above or below a number that is more than 0"

    @property
    def side(self) -> str:
        """Which side of the bound is claimed: one of SIDES."""
        return next(side for side in SIDES if getattr(self, side) is not None)

    @property
    def bound(self) -> float:
        """The bound, in the metric's unit; of a ratio how many times."""
        return getattr(self, self.side)

    @property
    def compared(self) -> list[str]:
        """The method, and what it is compared with."""
        return [name for name in (self.method, self.against) if name]

    @property
    def control(self) -> Claim | str:
        """The claim with the original, which does nothing, in the method's place; or why not."""
        if self.no_control:
            return self.no_control
        if UNITS[self.table][self.metric] == "s":
            return "doing nothing takes no time"
        parts = re.split("[ ~]", self.method)
        model = rf"\b{parts[1 if self.table == 'features' else 0]}\b"
        method, *against = (re.sub(model, "original", name) for name in self.compared)
        if against == [method]:
            return "it compares with the original itself"
        return self.model_copy(update={"method": method, "against": next(iter(against), None)})

    @property
    def measured(self) -> str:
        """What is measured of each cell: the metric, or an AUC's distance from chance."""
        return f"|{self.metric} − 1/2|" if self.metric in AUCS else self.metric

    @property
    def quantity(self) -> str:
        """What is averaged, in words: `aus: duck − fine_tuning`."""
        said = {
            "level": self.method,
            "difference": f"{self.method} − {self.against}",
            "ratio": f"{self.against} / {self.method}",
        }
        place = self.layer or self.output
        return f"{self.measured}{f' ({place})' if place else ''}: {said[self.kind]}"

    @property
    def asks(self) -> str:
        """What it asks, of QUESTIONS: of a study of the model's inside, else by its metric."""
        if self.table in ("features", "attributions", "shortcut"):
            return "inside"
        if UNITS[self.table][self.metric] == "s":
            return "time"
        if self.metric in (*AUCS, "svc_chance_distance"):
            return "privacy"
        return "utility" if self.metric in KEPT else "efficacy"

    @property
    def said_bound(self) -> str:
        """The bound in words: `> 0`, `within 0.05`."""
        return f"{SIGNS.get(self.side, self.side)} {self.bound:g}"


def read_bound(said: str) -> tuple[str, float]:
    """The side and the bound of `Claim.said_bound`. Raises ValueError for any other text."""
    sides = {SIGNS.get(side, side): side for side in SIDES}
    sign, _, bound = said.partition(" ")
    if sign not in sides:
        raise ValueError(f"{said!r} is no bound: it begins with none of {', '.join(sides)}")
    return sides[sign], float(bound)


def read_claims(path: str | Path) -> list[Claim]:
    """Read claims.yaml: a list of claims.

    Raises ValueError, naming the file, the claim and the key, for a file that is no such list, an
    unknown or missing key, a combination that no predicate has, and a claim given twice; and as
    `read_yaml` does.
    """
    raw = read_yaml(path)
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"{path}: must be a list of claims, one or more")
    found: dict[str, Claim] = {}
    for number, entry in enumerate(raw, start=1):
        one = _parse(entry, path, number)
        if one.claim in found:
            raise ValueError(f"{path}: claim {one.claim}: claim: given twice")
        found[one.claim] = one
    return list(found.values())


def _parse(entry: object, path: str | Path, number: int) -> Claim:
    name = entry.get("claim", number) if isinstance(entry, dict) else number
    try:
        return Claim.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key; known: {', '.join(Claim.model_fields)}"
    elif first["type"] == "float_type":
        message += f", got {shown(first['input'])}{advice(first['input'])}"
    raise ValueError(f"{path}: claim {name}: {f'{key}: ' if key else ''}{message}")
