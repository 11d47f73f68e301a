"""What the job of each rule reads and is asked: a function a rule, called by `jobs.Jobs.job`.

Each takes the jobs of its run and its own wildcards, and gives the job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearning.config import hyperparameters
from unlearning.config.blocks import variance_for
from unlearning.config.experiment import Experiment
from unlearning.files import canonical_json
from unlearning.jobs.job import LOGS, OUTPUTS, Job, Source, options
from unlearning.models import ERM, PRETRAINED
from unlearning.plan import grid, identity
from unlearning.records.entry import stage_modules

if TYPE_CHECKING:
    from unlearning.jobs.run import Jobs

Wildcards = dict[str, str]
Reads = Mapping[str, Source | list[Source]]
"""The files that a job reads, by role."""

LOGITS = ("record", "outputs")


def _job(jobs: Jobs, rule: str, w: Wildcards, reads: Reads, code: Sequence[str], **fields) -> Job:
    lists = {role: one if isinstance(one, list) else [one] for role, one in reads.items()}
    paths = {role: [job.outputs[file] for job, file in found] for role, found in lists.items()}
    inputs = {r: found if isinstance(reads[r], list) else found[0] for r, found in paths.items()}
    outputs = {role: f"{jobs.root}/{path.format(**w)}" for role, path in OUTPUTS[rule].items()}
    needs = {job.name: job for found in lists.values() for job, _ in found}
    return Job(
        rule,
        w,
        LOGS[rule].format(**w),
        inputs,
        outputs,
        tuple(needs.values()),
        tuple(code),
        jobs.experiments[w["experiment"]],
        **fields,
    )


# ---- data ----


def fetch_dataset(jobs: Jobs, w: Wildcards) -> Job:
    return _fetch("fetch_dataset", w, w["dataset"], "fetch")


def fetch_weights(jobs: Jobs, w: Wildcards) -> Job:
    return _fetch("fetch_weights", w, f"weights/{w['weights']}", "fetch_weights")


def _fetch(rule: str, w: Wildcards, name: str, verb: str) -> Job:
    files = {"data": f"data/{name}.safetensors", "facts": f"data/{name}.json"}
    return Job(rule, w, f"data/{name}", {}, files, (), tuple(stage_modules(verb)))


def fetched(jobs: Jobs, experiment: Experiment) -> Job:
    """The job that packs an experiment's data set."""
    return jobs.job("fetch_dataset", dataset=experiment.dataset)


def weights(jobs: Jobs, experiment: Experiment) -> Job:
    """The job that packs the weights that an experiment's trainings start from."""
    return jobs.job("fetch_weights", weights=PRETRAINED[experiment.arch])


def poison(jobs: Jobs, w: Wildcards) -> Job:
    experiment = jobs.experiments[w["experiment"]]
    reads = {"data": (fetched(jobs, experiment), "data")}
    settings = grid.splits(experiment)[0].settings
    return _job(jobs, "poison", w, reads, stage_modules("poison"), settings=settings)


def make_split(jobs: Jobs, w: Wildcards) -> Job:
    reads = {"data": _data(jobs, jobs.experiments[w["experiment"]])}
    settings = jobs.splits[w["experiment"], w["scenario"], w["split"]].settings
    return _job(jobs, "make_split", w, reads, stage_modules("split"), settings=settings)


def _data(jobs: Jobs, experiment: Experiment) -> Source:
    """The packed data set of an experiment."""
    if experiment.poisoned:
        return jobs.job("poison", experiment=experiment.label), "data"
    return fetched(jobs, experiment), "data"


def _split(jobs: Jobs, w: Wildcards) -> Source:
    """The forget set of a job, which lies where its oracles do."""
    home = jobs.home(jobs.experiments[w["experiment"]])
    return jobs.job("make_split", **w | {"experiment": home.label}), "split"


# ---- models ----


def train_original(jobs: Jobs, w: Wildcards) -> Job:
    return _train(jobs, "train_original", w, _original(jobs, w), {})


def take_original(jobs: Jobs, w: Wildcards) -> Job:
    weights = jobs.experiments[w["experiment"]].original.file(int(w["train_seed"]))
    return _take(jobs, "take_original", w, _original(jobs, w), weights)


def take_unlearned(jobs: Jobs, w: Wildcards) -> Job:
    experiment = jobs.experiments[w["experiment"]]
    place = w["scenario"], w["split"], int(w["train_seed"])
    settings = identity.taken(experiment, *place, w["method"])
    weights = experiment.unlearned[w["method"]].file(*place)
    return _take(jobs, "take_unlearned", w, settings, weights)


def _take(jobs: Jobs, rule: str, w: Wildcards, settings: dict, weights: Path) -> Job:
    """Reading a model that was made elsewhere."""
    reads = {"data": _data(jobs, jobs.experiments[w["experiment"]])}
    job = _job(jobs, rule, w, reads, stage_modules("take", settings["arch"]), settings=settings)
    return dataclasses.replace(job, inputs={**job.inputs, "weights": str(weights)})


def _start(jobs: Jobs, w: Wildcards) -> str:
    """The rule that makes an original: it is trained, or was given."""
    given = jobs.experiments[w["experiment"]].original and w["trunk"] == "originals"
    return "take_original" if given else "train_original"


def train_oracle(jobs: Jobs, w: Wildcards) -> Job:
    experiment = jobs.experiments[w["experiment"]]
    settings = identity.oracle(experiment, int(w["train_seed"]), w["scenario"], w["split"])
    return _train(jobs, "train_oracle", w, settings, {"split": _split(jobs, w)})


def train_shadow(jobs: Jobs, w: Wildcards) -> Job:
    settings = identity.shadow(jobs.experiments[w["experiment"]], int(w["shadow"]))
    return _train(jobs, "train_shadow", w, settings, {}, verb="shadow")


def _original(jobs: Jobs, w: Wildcards) -> dict[str, Any]:
    ending = w["trunk"].removeprefix("originals")
    return identity.original(jobs.experiments[w["experiment"]], int(w["train_seed"]), ending)


def _train(
    jobs: Jobs, rule: str, w: Wildcards, settings: dict, reads: dict, verb: str = "train"
) -> Job:
    """A training on the data and, where the experiment starts from them, pretrained weights."""
    experiment = jobs.experiments[w["experiment"]]
    if experiment.pretrained:
        reads["pretrained"] = weights(jobs, experiment), "data"
    asked = options(**{role: job.outputs[file] for role, (job, file) in reads.items()})
    reads = {"data": _data(jobs, experiment)} | reads
    code = stage_modules(verb, settings["arch"])
    return _job(jobs, rule, w, reads, code, settings=settings, options=asked)


def evaluate(jobs: Jobs, w: Wildcards) -> Job:
    start, settings = jobs.job(_start(jobs, w), **w), _original(jobs, w)
    data = _data(jobs, jobs.experiments[w["experiment"]])
    reads = {"data": data, "start": (start, "model"), "start_record": (start, "record")}
    code = stage_modules("evaluate", settings["arch"])
    return _job(jobs, "evaluate", w, reads, code, settings=settings)


def unlearn(jobs: Jobs, w: Wildcards) -> Job:
    """A cell starts from its original with its logits.

    The oracle starts from its own model, and so does one that was unlearned elsewhere.
    """
    experiment = jobs.experiments[w["experiment"]]
    method = jobs.variants[w["experiment"], w["method"]].method
    seeds = int(w["train_seed"]), int(w["unlearn_seed"])
    names = w["experiment"], w["scenario"], w["split"], seeds[0], w["method"], seeds[1]
    settings = identity.unlearned(experiment, grid.Cell(*names), jobs.methods)
    ending, trunk = (of(method, jobs.methods) for of in (identity.ending_of, identity.trunk_of))
    there = w | {"experiment": jobs.home(experiment).label, "trunk": trunk}
    elsewhere = w["method"] in experiment.unlearned
    rule = "train_oracle" if method == "oracle" else _start(jobs, there)
    start, asked = jobs.job("take_unlearned", **w) if elsewhere else jobs.job(rule, **there), ""
    reads: dict[str, Source] = {"data": _data(jobs, experiment), "split": _split(jobs, w)}
    reads |= {"start": (start, "model"), "start_record": (start, "record")}
    if method != "oracle" and not elsewhere:
        logits = jobs.job("evaluate", **there)
        reads |= {"evaluated": (logits, "outputs"), "evaluated_record": (logits, "record")}
        asked = options(evaluated=logits.outputs["outputs"])
    surrogate = settings["hyperparameters"].get("surrogate", "")
    if surrogate.startswith("packed:"):
        packed = jobs.job("fetch_dataset", dataset=surrogate.removeprefix("packed:"))
        reads["surrogate"] = packed, "data"
    code = stage_modules("unlearn", experiment.arch + ending, method)
    return _job(jobs, "unlearn", w, reads, code, settings=settings, options=asked)


# ---- what is measured of the cells of a group ----


def score(jobs: Jobs, w: Wildcards) -> Job:
    """The cells of one part, beside their originals and the oracle."""
    group = jobs.group(w)
    run = set(group)
    cells = [cell for cell in jobs.scored[OUTPUTS["score"]["out"].format(**w)] if cell in run]
    compared = _originals_of(jobs, cells)
    names = {*(cell.name for cell in cells), *compared.values()}
    read = [cell for cell in group if cell.name in names]
    half = jobs.experiments[w["experiment"]].test_half
    asked = {"cells": canonical_json(compared), "oracle": _oracle(cells), "test_half": half}
    return _measure(jobs, "score", w, read, LOGITS, asked)


def attack(jobs: Jobs, w: Wildcards) -> Job:
    cells, attacks = jobs.group(w), jobs.experiments[w["experiment"]].attacks
    pool = [jobs.job("train_shadow", shadow=k, **w) for k in range(attacks.shadows)]
    reads = {"shadows": [(job, "outputs") for job in pool]}
    asked = {"cells": canonical_json([c.name for c in cells]), "variance": attacks.variance}
    return _measure(jobs, "attack", w, cells, LOGITS, asked, reads)


def probe(jobs: Jobs, w: Wildcards) -> Job:
    experiment, cells = jobs.experiments[w["experiment"]], jobs.group(w)
    asked = {"cells": canonical_json(_originals_of(jobs, cells)), "oracle": _oracle(cells)}
    reads = {"data": _data(jobs, experiment)}
    code = stage_modules("probe", experiment.arch + ERM)  # the group may have masked models
    return _measure(jobs, "probe", w, cells, (*LOGITS, "model"), asked, reads, code)


def ensemble(jobs: Jobs, w: Wildcards) -> Job:
    """The cells of each method on one forget set, one a training seed."""
    experiment, members = jobs.experiments[w["experiment"]], []
    folders: dict[str, list[str]] = {}
    for seed in experiment.train_seeds:
        for cell in jobs.group(w | {"train_seed": seed}):
            if cell.unlearn_seed == experiment.unlearn_seeds[0]:
                members.append(cell)
                folders.setdefault(cell.method, []).append(f"train-{seed}/{cell.name}")
    # U-LiRA's pool is a model of both kinds for each other training seed.
    variance = variance_for(2 * (len(experiment.train_seeds) - 1))
    asked = {"cells": canonical_json(folders), "variance": variance}
    return _measure(jobs, "ensemble", w, members, LOGITS, asked)


def examine(jobs: Jobs, w: Wildcards) -> Job:
    return _look(jobs, "examine", w, settings=_block(jobs, w, "features"))


def map(jobs: Jobs, w: Wildcards) -> Job:
    features = jobs.experiments[w["experiment"]].features
    return _look(jobs, "map", w, images=features and features.images)


def explain(jobs: Jobs, w: Wildcards) -> Job:
    return _look(jobs, "explain", w, settings=_block(jobs, w, "attributions"))


def shortcut(jobs: Jobs, w: Wildcards) -> Job:
    return _look(jobs, "shortcut", w, attributions=_block(jobs, w, "attributions"))


def _look(jobs: Jobs, rule: str, w: Wildcards, **asked: Any) -> Job:
    """A look into the models of a group, each method's with the first unlearning seed."""
    experiment, cells = jobs.experiments[w["experiment"]], jobs.group(w)
    named = {c.method: c.name for c in cells if c.unlearn_seed == experiment.unlearn_seeds[0]}
    asked = {"cells": canonical_json(named)} | asked
    reads, code = {"data": _data(jobs, experiment)}, stage_modules(rule, experiment.arch)
    return _measure(jobs, rule, w, cells, ("record", "model"), asked, reads, code)


def _measure(
    jobs: Jobs,
    rule: str,
    w: Wildcards,
    cells: Iterable[grid.Cell],
    files: Sequence[str],
    asked: Mapping[str, Any],
    reads: Reads | None = None,
    code: Sequence[str] = (),
) -> Job:
    """A job on some files of cells. asked: options of its verb, beside the cells' folder."""
    made = [jobs.job("unlearn", **vars(cell)) for cell in cells]
    beside = {"cells": [(job, file) for job in made for file in files], "split": _split(jobs, w)}
    folder = f"{jobs.root}/{w['experiment']}/runs/{w['scenario']}/{w['split']}"
    folder += f"/train-{w['train_seed']}" if "train_seed" in w else ""
    asked = options(folder=folder, **asked)
    code = code or stage_modules(rule)
    return _job(jobs, rule, w, {**beside, **(reads or {})}, code, options=asked)


def _originals_of(jobs: Jobs, cells: Iterable[grid.Cell]) -> dict[str, str]:
    """The cell of the original that each cell is compared with, by the cell's name."""
    pairs = {}
    for cell in cells:
        own = hyperparameters.original_of(jobs.variant(cell).method, jobs.methods)
        pairs[cell.name] = f"{own}/unlearn-{jobs.experiments[cell.experiment].unlearn_seeds[0]}"
    return pairs


def _oracle(cells: Iterable[grid.Cell]) -> str | None:
    """The oracle's cell among some; None if it is not there."""
    return next((cell.name for cell in cells if cell.method == "oracle"), None)


def _block(jobs: Jobs, w: Wildcards, name: str) -> str | None:
    """A block of an experiment's settings as JSON; None without it."""
    block = getattr(jobs.experiments[w["experiment"]], name)
    return block and canonical_json(block.model_dump())
