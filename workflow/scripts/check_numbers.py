#!/usr/bin/env python3
"""Compute a run's numbers again from stored outputs, without this project's code.

    python workflow/scripts/check_numbers.py results/mini [--experiment NAME] [--written FOLDER]

Read are the outputs (logits and labels), the splits and the shadow models of a run's folder; NumPy
and SciPy do the rest, from the formulas of the papers. Compared are, of every cell that is ok and
whose outputs are there, its accuracies, AUS and LiRA's AUC in runs.csv, and of every method the
difference of AUS from DUCK's, its interval and its p in tables/statistics.csv. Prints how many
agree and every one that does not; the exit status is 1 if one does not, or if there is nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy import stats

CLOSE = 1e-9
ACCURACIES = ("retain_train", "forget_train", "retain_test", "forget_test", "test")
TESTED = ("difference", "difference_low", "difference_high", "p")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def accuracies(outputs: dict[str, np.ndarray], split: dict) -> dict[str, float]:
    """The accuracies of one model by the split: fractions of hits among the evaluated images."""
    count = len(outputs["train_labels"])
    positions = outputs.get("train_positions", np.arange(count))
    forgotten = np.isin(positions, split["forget"])
    hits = {
        part: outputs[f"{part}_logits"].argmax(1) == outputs[f"{part}_labels"]
        for part in ("train", "test")
    }
    found = {
        "forget_train": hits["train"][forgotten].mean(),
        "retain_train": hits["train"][~forgotten].mean(),
    }
    if split["settings"]["scenario"] == "class_removal":
        removed = np.isin(outputs["test_labels"], split["classes"])
        found |= {"retain_test": hits["test"][~removed].mean(), "test": hits["test"].mean()}
        found["forget_test"] = hits["test"][removed].mean()
    else:
        found["test"] = hits["test"][split["test"]].mean()
    return {name: float(value) for name, value in found.items()}


def aus(model: dict[str, float], original: dict[str, float]) -> float:
    """arXiv 2312.02052: (1 - (A_or - A)) / (1 + D), D = A_f^t of a class, else |A_f - A^t|."""
    if "retain_test" in model:
        kept, left = original["retain_test"] - model["retain_test"], model["forget_test"]
    else:
        kept = original["test"] - model["test"]
        left = abs(model["forget_train"] - model["test"])
    return (1 - kept) / (1 + left)


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p / (1 - p) of the true class (arXiv 2112.03570), in float64."""
    logits = logits.astype(np.float64)
    own = logits[np.arange(len(labels)), labels]
    rest = np.where(np.arange(logits.shape[1]) == labels[:, None], -np.inf, logits)
    top = rest.max(1)
    return own - top - np.log(np.exp(rest - top[:, None]).sum(1))


def lira_auc(
    outputs: dict[str, np.ndarray], split: dict, shadows: list[dict], variance: str
) -> float:
    """AUC of the likelihood ratio: images of D_f against unseen ones of their kind."""
    count = len(outputs["train_labels"])
    positions = list(outputs.get("train_positions", np.arange(count)))
    if split["test"] is None:
        unseen = np.flatnonzero(np.isin(outputs["test_labels"], split["classes"]))
    else:
        unseen = np.array(split["test"])
    rows = [positions.index(image) for image in split["forget"]]
    images = len(shadows[0]["logits"]) - len(outputs["test_labels"])
    logits = np.concatenate([outputs["train_logits"][rows], outputs["test_logits"][unseen]])
    labels = np.concatenate([outputs["train_labels"][rows], outputs["test_labels"][unseen]])
    of_pool = np.concatenate([split["forget"], images + unseen])
    scores = np.stack([confidence(one["logits"][of_pool], labels) for one in shadows])
    member = np.stack([one["trained_on"][of_pool] for one in shadows])
    ratio = np.zeros(len(labels))
    for sign, used in ((1, member), (-1, ~member)):
        spread = np.where(used, scores, np.nan)
        mean = np.nanmean(spread, 0)
        squares, degrees = np.nansum((spread - mean) ** 2, 0), used.sum(0) - 1
        if variance == "global":
            squares, degrees = np.full(len(labels), squares.sum()), degrees.sum()
        sd = np.maximum(np.sqrt(squares / degrees), 1e-6)
        ratio += sign * stats.norm.logpdf(confidence(logits, labels), mean, sd)
    inside, outside = ratio[: len(rows)], ratio[len(rows) :]
    larger = stats.mannwhitneyu(inside, outside, method="asymptotic").statistic
    return float(larger / (len(inside) * len(outside)))


def tested(values: dict[tuple[str, str], float]) -> tuple[float, float, float, float]:
    """Mean of the cells {(class, seed): value}, its widest interval and largest p of three t tests.

    By classes, by seeds and by cells: the variance of the mean from the sums of each group.
    """
    mean, n, rooms, ps = math.fsum(values.values()) / len(values), len(values), [0.0], [0.0]
    for key in (lambda cell: cell[0], lambda cell: cell[1], lambda cell: cell):
        groups = sorted({key(cell) for cell in values})
        if len(groups) < 2:
            continue
        sums = [sum(v - mean for cell, v in values.items() if key(cell) == g) for g in groups]
        freedom = len(groups) - 1
        error = math.sqrt(sum(s * s for s in sums) * len(groups) / freedom) / n
        rooms.append(error * stats.t.ppf(0.975, freedom))
        ps.append(2 * stats.t.sf(abs(mean) / error, freedom) if error else 0.0)
    return mean, mean - max(rooms), mean + max(rooms), max(ps)


class Check:
    """Pairs of a written and a computed number: how many agree, and which do not."""

    def __init__(self) -> None:
        self.agreed, self.apart = {}, []

    def __call__(self, kind: str, where: str, written: str, computed: float) -> None:
        if written == "" and math.isnan(computed):
            return
        if written == "" or abs(float(written) - computed) > CLOSE:
            self.apart.append(f"{where}: {kind} is written {written or 'nothing'}, not {computed}")
        else:
            self.agreed[kind] = self.agreed.get(kind, 0) + 1


def check_cells(run: Path, runs: list[dict], config: dict, check: Check) -> None:
    """Accuracies, AUS and LiRA's AUC of every cell whose outputs are there."""
    variance = {
        one["name"] or f"{one['dataset']}-{one['arch']}": (one["attacks"] or {}).get("variance")
        for one in config["experiments"]
    }
    for row in runs:
        home = run / row["experiment"]
        place = f"{row['scenario']}/{row['split']}/train-{row['train_seed']}"
        cell = f"runs/{place}/{row['method']}/unlearn-{row['unlearn_seed']}"
        trunk = "originals" + row["compared_with"].removeprefix("original")
        start = home / trunk / f"train-{row['train_seed']}/evaluated/outputs.safetensors"
        own = home / cell / "outputs.safetensors"
        if row["method"] == row["compared_with"] and not own.exists():
            own = start  # of all images; its own are the sample of `retain_evaluated`
        if row["status"] != "ok" or row["test_half"] or not own.exists() or not start.exists():
            continue
        where = f"{row['experiment']}/{cell}"
        split = home / "splits" / row["scenario"] / f"{row['split']}.json"
        split = json.loads(split.read_text(encoding="utf-8"))
        outputs = load_file(own)
        found, before = accuracies(outputs, split), accuracies(load_file(start), split)
        for name in ACCURACIES:
            check(f"{name}_accuracy", where, row[f"{name}_accuracy"], found.get(name, math.nan))
        check("aus", where, row["aus"], aus(found, before))
        if row["lira_auc"]:
            pool = [load_file(path) for path in sorted(home.glob("shadows/*/outputs.safetensors"))]
            auc = lira_auc(outputs, split, pool, variance[row["experiment"]])
            check("lira_auc", where, row["lira_auc"], auc)


def check_tests(written: Path, runs: list[dict], check: Check) -> None:
    """The differences of AUS from DUCK's over the cells that both have."""
    for row in rows_of(written / "tables/statistics.csv"):
        if row["metric"] != "aus" or row["method"] == "duck" or row["p"] == "":
            continue
        scores: dict[str, dict] = {"duck": {}, row["method"]: {}}
        for cell in runs:
            here = all(cell[name] == row[name] for name in ("experiment", "scenario"))
            if here and cell["status"] == "ok" and cell["aus"] and cell["method"] in scores:
                held = scores[cell["method"]]
                held.setdefault((cell["split"], cell["train_seed"]), []).append(float(cell["aus"]))
        ours, duck = (
            {cell: math.fsum(v) / len(v) for cell, v in scores[name].items()}
            for name in (row["method"], "duck")
        )
        found = tested({cell: ours[cell] - duck[cell] for cell in ours if cell in duck})
        where = f"{row['experiment']}, {row['scenario']}, {row['method']}"
        for name, value in zip(TESTED, found, strict=True):
            check(f"{name} of AUS", where, row[name], value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run's folder, results/NAME")
    parser.add_argument("--experiment", help="check the cells of this one alone")
    text = "the folder with runs.csv, config.json and tables/, if not the run's: of a snapshot"
    parser.add_argument("--written", type=Path, help=text)
    options = parser.parse_args()
    written = options.written or options.run
    runs = rows_of(written / "runs.csv")
    config = json.loads((written / "config.json").read_text(encoding="utf-8"))
    check = Check()
    check_tests(written, runs, check)
    if options.experiment:
        runs = [row for row in runs if row["experiment"] == options.experiment]
    check_cells(options.run, runs, config, check)
    for kind, count in check.agreed.items():
        print(f"{count:5} equal: {kind}")
    for text in check.apart:
        print(text)
    sys.exit(1 if check.apart or not check.agreed else 0)


if __name__ == "__main__":
    main()
