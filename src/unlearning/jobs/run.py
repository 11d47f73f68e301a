"""The jobs of a run, for the rules and for the estimate: both ask here, so that neither can differ.

A job is named by its rule and its wildcards; `Jobs.job` gives it with the jobs that it needs, so
that whoever walks back from what a run wants meets every job once. Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearning.config import hyperparameters
from unlearning.config.blocks import Variant
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.data.catalogue import DatasetInfo
from unlearning.files import METHODS
from unlearning.jobs import rules as job_rules
from unlearning.jobs.job import GROUP, OUTPUTS, WILDCARDS, Job
from unlearning.methods import REFERENCES
from unlearning.plan import grid, identity
from unlearning.records.entry import stage_modules

MODELS = ("train_original", "take_original", "train_oracle")
"""The rules that make the originals and oracles."""


class Jobs:
    """The jobs of a config and of the searches that it declares.

    datasets: those known, by name. root: the run's folder. methods: the methods' settings files.
    finished: whether the cell in a folder below the root is there; asked in a `partial` run.
    """

    def __init__(
        self,
        config: RunConfig,
        datasets: Mapping[str, DatasetInfo],
        searches: Iterable[Experiment] = (),
        root: str | None = None,
        methods: str | Path = METHODS,
        finished: Callable[[str], bool] = lambda folder: False,
    ) -> None:
        searches = list(searches)
        self.config, self.datasets = config, datasets
        self.methods, self.finished = methods, finished
        self.root = f"results/{config.run}" if root is None else root
        self.experiments = {e.label: e for e in (*config.experiments, *searches)}
        self.variants = {
            (label, v.name): v for label, e in self.experiments.items() for v in e.variants
        }
        self.splits = grid.shared_splits(self.experiments.values())
        self.cells = grid.cells(config)
        self.study_cells = grid.study_cells(config)
        # Not the oracles: no candidate is compared with one.
        self.search_cells = [c for e in searches for c in grid.cells_of(e) if c.method != "oracle"]
        self.scored = {f: c for e in self.experiments.values() for f, c in grid.scored(e).items()}
        self._groups: dict[tuple, list[grid.Cell]] = {}
        for cell in (*self.cells, *self.study_cells, *self.search_cells):
            self._groups.setdefault(_group_key(vars(cell)), []).append(cell)
        self._ranks = grid.ranks(config)
        self._wanted = grid.first_wanted(config, lambda method: identity.trunk_of(method, methods))
        self._jobs: dict[tuple, Job] = {}
        self._runs: dict[grid.Cell, bool] = {}

    def job(self, rule: str, wildcards: Any = None, /, **named: Any) -> Job:
        """The job of a rule. wildcards: an object with them as attributes, or each by its name."""
        names = WILDCARDS[rule]
        if wildcards is None:
            values = tuple(str(named[name]) for name in names)
        else:
            values = tuple(getattr(wildcards, name) for name in names)
        key = (rule, *values)
        if key not in self._jobs:
            of = getattr(job_rules, rule)
            self._jobs[key] = of(self, dict(zip(names, values, strict=True)))
        return self._jobs[key]

    # ---- what a run wants ----

    def runs_here(self, cell: grid.Cell) -> bool:
        """Whether a cell is run: it is possible and, in a partial run, it was run."""
        if cell not in self._runs:
            here = not self.config.partial or self.finished(cell.folder)
            self._runs[cell] = here and self._possible(cell)
        return self._runs[cell]

    def _possible(self, cell: grid.Cell) -> bool:
        """Whether its method is defined there and, of one from elsewhere, there is a file."""
        theirs = self.experiments[cell.experiment].unlearned.get(cell.method)
        if theirs and not theirs.file(cell.scenario, cell.split, cell.train_seed).is_file():
            return False
        method = self.variant(cell).method
        return hyperparameters.defined(method, cell.scenario, self.methods)

    def collected(self) -> list[Job]:
        """What runs.csv is made of: cells, scores, attacks, probes and ensembles."""
        return [*self._finished(self.cells), *self._measured()]

    def gathered(self) -> list[Job]:
        """What the studies' files are made of: cells, scores and what was found in models."""
        run = [cell for cell in self.study_cells if self.runs_here(cell)]
        scored = [c for c in run if self.experiments[c.experiment].study != "shortcut"]
        groups = {_group_key(vars(cell)): cell for cell in run}.values()
        looks = [job for cell in groups for job in self._looks(cell)]
        return [*self._unlearned(run), *self._scores(scored), *looks]

    def ranked(self) -> list[Job]:
        """What the search is judged by."""
        return self._finished(self.search_cells)

    def first(self) -> list[Job]:
        """What the first table shows: class removal, unless a run goes on part by part."""
        if self.config.order is not None or self.config.partial:
            return []
        return self._finished(cell for cell in self.cells if cell.scenario == "class_removal")

    def made(self) -> list[Job]:
        """Every cell, and the shadow models: what they need is all that is trained."""
        found = []
        for experiment in self.experiments.values():
            cells = grid.cells_of(experiment)
            found += [self.job("unlearn", **vars(c)) for c in cells if self._possible(c)]
            shadows = range(experiment.attacks.shadows if experiment.attacks else 0)
            found += [
                self.job("train_shadow", experiment=experiment.label, shadow=k) for k in shadows
            ]
        return found

    def models(self) -> list[Job]:
        """The originals and oracles of the grid."""
        needs = [need for job in self._unlearned(self.cells) for need in job.needs]
        found = {job.name: job for job in needs if job.rule in MODELS}
        return list(found.values())

    def fetched(self) -> list[Job]:
        """The data sets and weights of the grid and the studies."""
        found = [job_rules.fetched(self, e) for e in self.config.experiments]
        found += [job_rules.weights(self, e) for e in self.config.experiments if e.pretrained]
        return list({job.name: job for job in found}.values())

    def modules(self, rules: Collection[str]) -> list[str]:
        """What jobs of some rules need not import again where they are forked: theirs and ours."""
        found = ["pandas"]
        found += ["matplotlib.pyplot"] if "plot" in rules else []
        found += ["shap"] if {"explain", "shortcut"} & {*rules} else []
        for verb in ("train", "score", "attack", "probe", "draw"):
            found += stage_modules(verb)
        for (label, _), variant in self.variants.items():
            arch = self.experiments[label].arch + identity.ending_of(variant.method, self.methods)
            found += stage_modules("unlearn", arch, variant.method)
        return list(dict.fromkeys(found))

    def by_part(self) -> Iterator[tuple[str, Job]]:
        """Every cell and measurement with the first part that wants it, in the parts' order."""
        part_of: dict[grid.Cell, str] = {}
        for one in self.config.experiments:
            names = [part.name for part in one.listed]
            part_of |= {cell: names[number] for cell, number in grid.parts_of(one).items()}
        cells = [cell for cell in (*self.cells, *self.study_cells) if self.runs_here(cell)]
        cells.sort(key=lambda cell: self._ranks[cell.experiment, part_of[cell]])
        groups: dict[tuple, list[grid.Cell]] = {}
        for cell in cells:
            groups.setdefault(_group_key(vars(cell)), []).append(cell)
            yield part_of[cell] or cell.experiment, self.job("unlearn", **vars(cell))
        scored = [c for c in cells if self.experiments[c.experiment].study != "shortcut"]
        for job in self._scores(scored):
            yield job.wildcards["part"].removeprefix(".") or job.wildcards["experiment"], job
        measured: dict[tuple, list[Job]] = {}
        for job in self._measured():
            seed = self.experiments[job.wildcards["experiment"]].train_seeds[0]
            key = _group_key({"train_seed": seed, **job.wildcards})
            measured.setdefault(key, []).append(job)
        for key, group in groups.items():
            part = part_of[group[-1]] or group[-1].experiment
            for job in (*measured.get(key, ()), *self._looks(group[0])):
                yield part, job

    def _unlearned(self, cells: Iterable[grid.Cell]) -> list[Job]:
        """The jobs of cells, of those that are run."""
        return [self.job("unlearn", **vars(cell)) for cell in cells if self.runs_here(cell)]

    def _scores(self, cells: Iterable[grid.Cell]) -> list[Job]:
        """The jobs that score cells, of those that are run."""
        run = {cell for cell in cells if self.runs_here(cell)}
        files = {f: members[0] for f, members in self.scored.items() if run.intersection(members)}
        return [self.job("score", part=_part(f, c), **vars(c)) for f, c in sorted(files.items())]

    def _finished(self, cells: Iterable[grid.Cell]) -> list[Job]:
        cells = list(cells)
        return [*self._unlearned(cells), *self._scores(cells)]

    def _measured(self) -> list[Job]:
        """The attacks, probes and ensembles of the grid."""
        found: dict[str, Job] = {}
        for cell in self.cells:
            if self.runs_here(cell):
                experiment, oracle = self.experiments[cell.experiment], cell.method == "oracle"
                asked = {
                    "attack": experiment.attacks,
                    "probe": oracle or (cell.method == "original" and not experiment.training),
                    "ensemble": oracle and len(experiment.train_seeds) >= grid.FEWEST_SEEDS,
                }
                for job in (self.job(rule, **vars(cell)) for rule in asked if asked[rule]):
                    found[job.name] = job
        return list(found.values())

    def _looks(self, cell: grid.Cell) -> list[Job]:
        """The jobs that look into the models of a group; none before its references ran."""
        study = self.experiments[cell.experiment]
        if not study.study or not set(REFERENCES) <= {c.method for c in self.group(vars(cell))}:
            return []
        first = cell.split == grid.splits(study)[0].key and cell.train_seed == study.train_seeds[0]
        inside = study.study == "feature_space" and cell.scenario == "class_removal"
        asked = {
            "examine": inside,
            "explain": inside and study.attributions,
            "map": inside and first,
            "shortcut": study.study == "shortcut",
        }
        return [self.job(rule, **vars(cell)) for rule in asked if asked[rule]]

    # ---- what the jobs ask of the config ----

    def home(self, experiment: Experiment) -> Experiment:
        """The experiment whose originals and oracles another one uses; else itself."""
        return self.experiments[experiment.models_of or experiment.label]

    def variant(self, cell: grid.Cell) -> Variant:
        """The variant of a cell."""
        return self.variants[cell.experiment, cell.method]

    def split_of(self, job: Job) -> grid.Split:
        """The forget set of a job."""
        label = self.home(job.experiment).label
        return self.splits[label, job.wildcards["scenario"], job.wildcards["split"]]

    def group(self, names: Mapping[str, Any]) -> list[grid.Cell]:
        """The cells that are measured together and are run: one forget set and training seed."""
        return [cell for cell in self._groups[_group_key(names)] if self.runs_here(cell)]

    def logits_mb(self, names: Mapping[str, Any], shadows: bool = True) -> float:
        """MB of the logits that a job reads: of a group or of all seeds' groups, and the pool."""
        experiment = self.experiments[names["experiment"]]
        seeds = [names["train_seed"]] if "train_seed" in names else experiment.train_seeds
        groups = (self._groups[_group_key({**names, "train_seed": seed})] for seed in seeds)
        pool = experiment.attacks.shadows if shadows and experiment.attacks else 0
        info = self.datasets[experiment.dataset]
        arrays = sum(map(len, groups)) + pool
        return arrays * 4 * info.classes * (info.train + info.test) / 1e6

    def priority(self, base: int, names: Mapping[str, Any]) -> int:
        """`base`, and more the earlier the part that wants a job first.

        Within a part the cells of class removal come first, for the first table.
        """
        label = names["experiment"]
        if "part" in names:
            rank = self._ranks.get((label, names["part"].removeprefix(".")), 0)
        elif "train_seed" not in names:  # of a shadow model, a forget set, a data set
            own = [rank for (one, _), rank in self._ranks.items() if one == label]
            rank = min(own, default=0)  # a search has no place in the order
        elif "trunk" in names:
            rank = self._wanted.get((label, names["trunk"], int(names["train_seed"])), 0)
        else:
            place = GROUP.format(**names), names.get("method", "oracle")
            rank = self._wanted.get((label, *place), 0)
        first = base > 5 and names.get("scenario") == "class_removal"
        return base + 50 * first + 100 * (1 + max(self._ranks.values()) - rank)


def _group_key(names: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return names["experiment"], names["scenario"], names["split"], int(names["train_seed"])


def _part(file: str, cell: grid.Cell) -> str:
    """The wildcard `part` of a file of scores of a cell's group."""
    before, after = OUTPUTS["score"]["out"].format(part="\n", **vars(cell)).split("\n")
    return file.removeprefix(before).removesuffix(after)
