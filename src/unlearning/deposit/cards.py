"""A model card for each original of a run, from its records or manifests and its config.

The sections are those of Mitchell et al. (2019), Model Cards for Model Reporting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from unlearning.config.experiment import Experiment
from unlearning.config.parsing import read_config
from unlearning.data.catalogue import DatasetInfo
from unlearning.deposit.actions import Action, actions
from unlearning.methods import ORIGINALS
from unlearning.results.runs import read_runs
from unlearning.results.study_files import read_studies

UNKNOWN = "not stated in this run's files"
TEMPLATE = """\
# {{ title }}

The model before unlearning in run `{{ run }}`: methods start from it, and AUS compares with it.

## Model

| Fact | Value |
|---|---|
| Network | `{{ settings.arch }}`, from {{ began }} weights |
| Weights | `{{ model.path }}`, SHA-256 `{{ model.sha256 }}` |
| Seed | `train_seed` {{ settings.train_seed }}; every random choice is derived from it |
| Trained | {{ made }} |
| Code | commit `{{ job.commit or "unknown" }}`{{ " with uncommitted changes" if job.dirty }} |
| Software | {{ software }} |
| Command | {{ command }} |

## Intended use

To compare methods of machine unlearning, and to recompute this run's numbers. Not for classifying
images in earnest: network and recipe were chosen for the comparison, not for the accuracy.

## Data

`{{ settings.dataset }}`, packed, SHA-256 `{{ job.inputs.data.sha256 }}`.
{% if job.inputs.data.inside -%}
It holds the shortcut that the study plants.
{% endif -%}
{% if data -%}
{{ data.classes }} classes, {{ data.train }} training and {{ data.test }} test images. Licence:
{{ data.licence }}.
{% endif -%}
{% if settings.evaluation == "validation" -%}
Trained without the part of the training images that it is evaluated on.
{% else -%}
Trained on all training images, evaluated on the test images.
{% endif %}
## Training

| Setting | Value |
|---|---|
{% for name, value in recipe.items() -%}
| {{ name }} | {{ value }} |
{% endfor %}
## Accuracy

| Images | Accuracy |
|---|---|
{% for images, value in accuracies -%}
| {{ images }} | {{ value }} |
{% endfor %}
This is one model of one seed; the run's tables have the spread over seeds.

## Limits

- Accuracy is known by class only. Where images show people, nothing is known about who is
  misclassified.
- The model remembers its training images to some degree, and unlearning is measured on that. Do not
  train it on data that may not be disclosed.
- Nothing is known about adversarial inputs, other sources of images, or shifts of the data.
{% if settings.arch.endswith("_erm") -%}
- A mask of classes by channels is trained with the weights, for ERM-KTP, the method that needs it.
{% endif -%}
"""


@dataclass(frozen=True)
class Original:
    """One original: the job that trained it, or of a run without records a cell that holds it.

    label: of its experiment. method: `original` or `original_erm`. accuracies: (images, fraction).
    """

    label: str
    method: str
    action: Action
    accuracies: list[tuple[str, float]]

    @property
    def name(self) -> str:
        """What its card is called."""
        return f"{self.label}-{self.method}-train-{self.action.settings['train_seed']}"

    @property
    def trained(self) -> bool:
        """Whether the run has the record of the training."""
        return self.action.verb == "train"


def cards(run: Path, datasets: Mapping[str, DatasetInfo]) -> dict[str, str]:
    """The card of every original of a run, as Markdown by file name.

    datasets: the catalogue; a data set that it lacks is named only. Raises ValueError for a run
    without a cell of an original.
    """
    config = read_config(run / "config.json")
    experiments = {experiment.label: experiment for experiment in config.experiments}
    found = {
        f"{one.name}.md": _card(config.run, one, experiments[one.label], datasets)
        for one in _originals(run, experiments)
    }
    if not found:
        raise ValueError(f"{run}: no record and no row of manifest.csv is of an original")
    return found


def _originals(run: Path, experiments: Mapping[str, Experiment]) -> Iterator[Original]:
    """Every original once, under the experiment that trained it."""
    jobs = actions(run)
    measured = _measured(run)
    trainings = {job.outputs["model"].sha256: job for job in jobs if job.verb == "train"}
    cells = [job for job in jobs if job.settings.get("base_method") in ORIGINALS]
    cells = [cell for cell in cells if "model" in cell.outputs]
    cells.sort(key=lambda cell: experiments[_label(cell)].models_of is not None)
    first = {cell.outputs["model"].sha256: cell for cell in reversed(cells)}
    for digest, cell in sorted(first.items(), key=lambda one: one[1].name):
        label, method = _label(cell), cell.settings["method"]
        key = label, method, str(cell.settings["train_seed"])
        own = [row for row in measured if _key(row) == key]
        yield Original(label, method, trainings.get(digest, cell), [*_accuracies(own)])


def _measured(run: Path) -> list[dict[str, Any]]:
    """The rows of runs.csv and studies.csv, of those that are there."""
    readers = {"runs.csv": read_runs, "studies.csv": read_studies}
    here = {run / name: read for name, read in readers.items() if (run / name).is_file()}
    return [row for path, read in here.items() for row in read(path).to_dict("records")]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["experiment"], row["method"], row["train_seed"]


def _label(cell: Action) -> str:
    return Path(cell.name).parts[0]


def _accuracies(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    """What runs.csv says of an original, images by images; rows: its cells."""
    done = [row for row in rows if row["status"] == "ok"]
    removal = [row for row in done if row["scenario"] == "class_removal"]
    for row in removal[:1]:
        yield "test", row["test_accuracy"]
    for row in removal:
        yield f"test, {row['split']}", row["forget_test_accuracy"]
    for row in (row for row in done if row["scenario"] == "homogeneous_removal"):
        yield f"test, the half that {row['split']} evaluates", row["test_accuracy"]
        yield f"training, those of {row['split']}", row["forget_train_accuracy"]


def _card(
    run: str, one: Original, experiment: Experiment, datasets: Mapping[str, DatasetInfo]
) -> str:
    job, settings = one.action, one.action.settings
    recipe = settings.get("training") or experiment.training.model_dump()
    measured = [(images, f"{value:.4f}") for images, value in one.accuracies]
    return jinja2.Template(TEMPLATE, keep_trailing_newline=True).render(
        title=f"Model card: {one.name}",
        run=run,
        settings=settings,
        began="pretrained" if settings.get("pretrained") else "random",
        model=job.outputs["model"] if one.trained else job.inputs["start"],
        job=job,
        made=f"{job.started}, on {job.machine}" if one.trained else UNKNOWN,
        command=f"`{job.command}`" if one.trained else UNKNOWN,
        software=", ".join(f"{name} {version}" for name, version in job.software.items()),
        data=datasets.get(settings["dataset"]),
        recipe={name: json.dumps(value) for name, value in recipe.items()},
        accuracies=measured or [("–", UNKNOWN)],
    )
