"""The texts of the paper about the run itself: what was run, on what, made by what."""

from __future__ import annotations

import json
import math

import pandas as pd

from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.hyperparameters import known_methods, load
from unlearning.data.catalogue import catalogue
from unlearning.files import METHODS
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.recipe import Recipe
from unlearning.report.quote import Quotes, counted, facts, listed

DATASETS = "configs/datasets.csv"


def recipe(training: Recipe) -> str:
    """A training recipe as a phrase."""
    changes = ["random flips"] if training.flip else []
    changes += [f"random crops after padding by {training.crop}"] if training.crop else []
    nesterov = " (Nesterov)" if training.nesterov else ""
    return (
        f"{training.epochs} epochs of SGD with momentum {training.momentum:g}{nesterov}, batches "
        f"of {training.batch_size}, peak learning rate {training.lr:g} ({training.schedule} "
        f"schedule), weight decay {training.weight_decay:g}, label smoothing "
        f"{training.label_smoothing:g}, {' and '.join(changes) or 'no augmentation'}"
    )


def of_run(runs: pd.DataFrame, config: RunConfig) -> Quotes:
    """`run.…`: what was run, on what."""
    main = next(e for e in config.experiments if e.label == runs["experiment"].iloc[0])
    data = (catalogue() | config.own_datasets)[main.dataset]
    checksums = [(file.file, file.checksum) for file in data.files]
    checksums += [("images", data.own.checksum)] if data.own else []
    methods = [m for m in dict.fromkeys(runs["method"]) if m not in (*REFERENCES, *ORIGINALS)]
    ok = int((runs["status"] == "ok").sum())
    others = runs.loc[runs["status"] != "ok", "status"].value_counts().sort_index()
    cells = {
        "run.cells": counted(len(runs), "cell"),
        "run.ok": str(ok),
        "run.others": listed(f"{n} {status.replace('_', ' ')}" for status, n in others.items()),
        "run.experiments": counted(runs["experiment"].nunique(), "experiment"),
        "run.methods": counted(len(methods), "unlearning method"),
        "run.method_names": listed(methods),
    }
    settings = {
        "run.name": config.run,
        "run.experiment": main.label,
        "run.dataset": main.dataset,
        "run.arch": main.arch,
        "run.start": "pretrained weights" if main.pretrained else "random weights",
        "run.precision": main.precision,
        "run.recipe": recipe(main.training),
        "run.training_seeds": counted(len(main.train_seeds), "training seed"),
        "run.unlearning_seeds": counted(len(main.unlearn_seeds), "unlearning seed"),
        "run.seeds": (
            f"training {listed(map(str, main.train_seeds))}; "
            f"unlearning {listed(map(str, main.unlearn_seeds))}"
        ),
        "run.shadows": str(main.attacks.shadows) if main.attacks else "",
    }
    dataset = {
        "run.train_images": f"{data.train:,}",
        "run.test_images": f"{data.test:,}",
        "run.image": f"{data.channels} × {data.size} × {data.size}",
        "run.classes": str(data.classes),
        "run.licence": data.licence,
        "run.dataset_version": data.version,
        "run.checksums": ", ".join(f"{name} {digest[:19]}…" for name, digest in checksums),
    }
    searched = searches(main)
    search = "the sources that the files in configs/methods name"
    search = f"a search ({'; '.join(searched)})" if searched else search
    return {
        **facts(cells, "runs.csv"),
        **facts(settings, "config.json"),
        **facts(dataset, DATASETS),
        **facts({"run.search": search}, "config.json"),
    }


def searches(main: Experiment) -> list[str]:
    """What the method files say of the searches that the settings of an experiment are from.

    An experiment of a run before `settings_from` was there took searched ones if it had a search.
    """
    if main.settings_from != "searched" and not main.tuning:
        return []
    methods = {v.method for v in main.variants} & set(known_methods(METHODS))
    blocks = [block for m in methods for block in load(f"{METHODS}/{m}.yaml")["tuned"]]
    here = {"dataset": main.dataset, "arch": main.arch}
    return sorted({b["source"] for b in blocks if here.items() <= b["when"].items()})


def of_records(manifest: pd.DataFrame) -> Quotes:
    """`made.…`: when, where and with what the cells were made, of manifest.csv."""
    made = manifest[manifest["record"] != ""]
    versions = [json.loads(text) for text in made["software"].unique()]
    names = sorted({name for found in versions for name in found})
    software = {
        name: " / ".join(sorted({str(v[name]) for v in versions if name in v})) for name in names
    }
    spent = made.groupby(made["method"].eq("oracle"))["seconds"].sum()
    dirty = int((made["dirty"] == "True").sum())
    found = {
        "made.records": counted(len(made), "record"),
        "made.cells": str(len(manifest)),
        "made.commits": listed(sorted({c[:12] for c in made["commit"]} - {""})),
        "made.dirty": "none" if dirty == 0 else f"{dirty} of {len(made)}",
        "made.devices": listed(sorted(set(made["device"]))),
        "made.machines": listed(sorted(set(made["machine"]))),
        "made.software": ", ".join(f"{name} {version}" for name, version in software.items()),
        "made.began": min(made["started"], default=""),
        "made.ended": max(made["started"], default=""),
        "made.unlearning": _duration(spent.get(False, math.nan)),
        "made.retraining": _duration(spent.get(True, math.nan)),
        "made.data": listed(f"{h[:16]}…" for h in sorted(set(made["data_sha256"]))),
        "made.splits": counted(made["split_sha256"].nunique(), "forget set file"),
        "made.starts": counted(made["start_sha256"].nunique(), "starting model"),
        "made.settings": counted(made["settings_sha256"].nunique(), "settings file"),
        "made.code": counted(made["code_sha256"].nunique(), "state") + " of the code",
    }
    return facts(found, "manifest.csv")


def _duration(spent: float) -> str:
    if math.isnan(spent):
        return "–"
    return f"{spent:.0f} s" if spent < 120 else f"{spent / 60:.0f} min"
