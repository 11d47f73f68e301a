"""Tables that the figures are drawn of in tests: of every figure one with holes, and others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from test_tables import lose, synthetic_runs

from unlearning.results.collected import ROC_COLUMNS

VARIANTS = (
    *("no_forget_loss", "no_retain_loss", "random_centroid", "farthest_centroid"),
    *("moving_centroids", "euclidean", "temperature_1", "temperature_4", "retain_10_percent"),
    *("retain_30_percent", "batch_ratio_1", "batch_ratio_10"),
)
CELLS = {"split": "class-3", "scenario": "class_removal", "experiment": "study"}
MODELS = ("original", "duck", "oracle")
SYSTEM = {"experiment": "inside", "dataset": "data", "arch": "cnn", "scenario": "class_removal"}
IMAGE = [*SYSTEM, "split", "train_seed", "image", "label", "assigned"]


def with_holes() -> pd.DataFrame:
    runs = synthetic_runs()
    removal = runs["scenario"] == "class_removal"
    one = (runs["method"] == "scrub") & (runs["split"] == "class-8") & (runs["train_seed"] == 2)
    runs = lose(runs, one, "diverged", "loss is NaN")
    return lose(runs, (runs["method"] == "boundary_shrink") & removal, "missing", "not run")


def roc_points(methods=("original", "oracle", "duck", "scrub")) -> pd.DataFrame:
    """Two cells a method; the second does not resolve the lowest rate."""
    rows = []
    for scenario, split in (("class_removal", "class-0"), ("homogeneous_removal", "seed-0")):
        for k, method in enumerate(methods):
            for seed in (0, 1):
                for rate in (0.01, 0.1, 1.0)[seed:]:
                    cell = ["mini", "data", "cnn", scenario, split, method, seed, 0]
                    rows.append([*cell, rate, min(1.0, rate * (1 + k + seed)), 8])
    return pd.DataFrame(rows, columns=ROC_COLUMNS)


def ablation(variants: tuple[str, ...] = VARIANTS) -> pd.DataFrame:
    """Two classes and three halves x three seeds, duck and its variants."""
    runs = synthetic_runs(("duck", *variants))
    return runs.assign(study="ablation", classes_removed=runs["scenario"].map(_one))


def _one(scenario: str) -> object:
    return 1 if scenario == "class_removal" else ""


def architectures(archs: tuple[str, ...] = ("strided_cnn", "resnet18", "vit_b16")) -> pd.DataFrame:
    """The same grid on each architecture, moved a little from one to the next."""
    found = []
    for k, arch in enumerate(archs):
        runs = synthetic_runs(("fine_tuning", "duck"), system=("fashion_mnist_mini", arch))
        known = runs["aus"] > 0.9
        runs.loc[known, "aus"] -= 0.01 * k
        found.append(runs.assign(experiment=f"study-{arch}"))
    runs = pd.concat(found, ignore_index=True)
    return runs.assign(study="architectures", classes_removed=runs["scenario"].map(_one))


def multiple_classes(counts: tuple[int, ...] = (1, 2, 3, 5, 7, 8), draws: int = 3) -> pd.DataFrame:
    """For each number of classes `draws` forget sets of one seed; accuracy rises as classes go."""
    one = synthetic_runs(("fine_tuning", "duck"))
    one = one[(one["split"] == "class-0") & (one["train_seed"] == 0)]
    draw = np.random.default_rng(1)
    found = []
    for count, order in itertools.product(counts, range(draws)):
        cells = one.assign(split=f"classes-{count}-{order}", classes_removed=count)
        cells["retain_test_accuracy"] += 0.08 * count / max(counts) + 0.01 * draw.standard_normal(
            len(cells)
        )
        cells["aus"] += 0.01 * draw.standard_normal(len(cells))
        cells["forget_test_accuracy"] = cells["forget_test_accuracy"] * draw.uniform(0.8, 1.02)
        found.append(cells)
    return pd.concat(found, ignore_index=True).assign(study="multiple_classes")


def attributions(images: int = 20, splits: int = 3, seeds: int = 2) -> pd.DataFrame:
    """Correlations of random size; image k of one class is another than image k of the next."""
    draw = np.random.default_rng(2)
    middle = {"duck~oracle": 0.6, "original~oracle": 0.3, "original~duck": 0.4}
    rows = []
    for split, seed, image in itertools.product(range(splits), range(seeds), range(images)):
        for output, (pair, mean) in itertools.product(("true", "assigned"), middle.items()):
            value = np.tanh(np.arctanh(mean) + 0.4 * draw.standard_normal())
            cell = CELLS | {"split": f"class-{split}", "train_seed": seed, "image": image}
            rows.append(cell | {"output": output, "pair": pair, "correlation": value})
    return pd.DataFrame(rows).assign(dataset="fashion_mnist_mini", arch="strided_cnn")


def shortcut(seeds: int = 3, methods: tuple[str, ...] = ("original", "oracle", "duck")):
    """The original answers patched images with the wrong label, the others hardly."""
    draw = np.random.default_rng(3)
    rows = []
    for method, seed in itertools.product(methods, range(seeds)):
        wrong = 0.9 if method == "original" else 0.04
        values = {
            "clean_source": 0.8 + 0.03 * draw.standard_normal(),
            "clean_label": 0.02 * draw.random(),
            "patched_source": 0.95 - wrong + 0.01 * draw.standard_normal(),
            "patched_label": wrong + 0.02 * draw.random(),
            "attribution_mass": 0.05 + 0.3 * (method == "original") + 0.02 * draw.random(),
            "patch_area": 16 / 784,
            "test_accuracy": 0.85,
        }
        cell = {"method": method, "train_seed": seed, "source": 1, "label": 9, "n": 100}
        rows += [cell | {"measure": name, "value": value} for name, value in values.items()]
    table = pd.DataFrame(rows).assign(experiment="study", arch="strided_cnn")
    return table.assign(dataset="fashion_mnist_mini")


def with_study_holes(runs: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """One class-removal cell of `one` diverged, and all of `other` missing in the last system."""
    last = (runs["scenario"] == "class_removal") & (runs["arch"] == runs["arch"].iloc[-1])
    cell = (runs["method"] == one) & (runs["split"] == "class-8") & (runs["train_seed"] == 2)
    runs = hole(runs, cell & last, "diverged", "loss is NaN")
    return hole(runs, last & (runs["method"] == other), "missing", "not run")


def with_gap(runs: pd.DataFrame) -> pd.DataFrame:
    """Fine-Tuning diverged wherever 3 classes go, and 8 of them went only once."""
    gone = (runs["method"] == "fine_tuning") & (runs["classes_removed"] == 3)
    once = (runs["classes_removed"] == 8) & ~runs["split"].str.endswith("-0")
    return hole(runs, gone, "diverged", "loss is NaN")[~once]


def hole(runs: pd.DataFrame, where: pd.Series, status: str, reason: str) -> pd.DataFrame:
    """As `lose`, but what the cell is stays known."""
    beside = runs[["study", "classes_removed"]]
    return lose(runs, where, status, reason).assign(**beside)


def blank(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table without its first value."""
    return table.assign(**{column: table[column].where(table.index > 0)})


def features(seeds=(0, 1), classes=(3, 5)) -> pd.DataFrame:
    """Log densities at two percentiles, and a measure that the figure must not draw."""
    random = np.random.default_rng(0)
    rows = []
    for split, seed, model in itertools.product(classes, seeds, MODELS):
        where = SYSTEM | {"split": f"class-{split}", "train_seed": seed, "model": model}
        for layer, part in itertools.product(("embedding", "intermediate"), ("forget", "retain")):
            cell = where | {"layer": layer, "part": part}
            for percentile in (90, 95):
                density = {"measure": "log_density", "percentile": percentile}
                rows.append(cell | density | {"value": random.normal()})
            rows.append(cell | {"measure": "silhouette", "percentile": "", "value": 0.123})
    return pd.DataFrame(rows)


def destinations(classes=4, removed=(0, 2), seeds=(0, 1)) -> pd.DataFrame:
    """Shares that sum to one; the first seed does not name destinations of share 0."""
    random = np.random.default_rng(1)
    rows = []
    panels = [("original", "centroid"), ("duck", "centroid"), ("oracle", "prediction")]
    for own, seed, (model, by) in itertools.product(
        removed, seeds, [*panels, ("duck", "prediction")]
    ):
        where = SYSTEM | {"split": f"class-{own}", "train_seed": seed, "model": model, "by": by}
        shares = random.dirichlet(np.ones(classes)) * (np.arange(classes) != own)
        for label in np.flatnonzero(shares):
            rows.append(where | {"class": label, "share": shares[label] / shares.sum()})
    many = SYSTEM | {"split": "classes-2", "train_seed": 0, "model": "duck", "by": "centroid"}
    return pd.DataFrame([*rows, many | {"class": 1, "share": 1.0}])


def maps(classes=4, forgotten=20) -> pd.DataFrame:
    """Two maps; class 2 is removed in the first and its images are assigned to 0 and 3."""
    random = np.random.default_rng(2)
    rows = []
    for split, model in itertools.product(("class-2", "class-0"), MODELS):
        where = SYSTEM | {"split": split, "train_seed": 0, "model": model}
        gone = int(split[-1])
        others = [label for label in range(classes) if label != gone]
        labels = [*(others * 5), *([gone] * forgotten)]
        for place, label in enumerate(labels):
            x, y = random.normal(size=2) + 9 * label
            assigned = others[-1 if place % 2 else 0] if label == gone else ""
            image = {"kind": "image", "class": label, "forgotten": int(label == gone)}
            rows.append(where | image | {"x": x, "y": y, "assigned": assigned})
        for label in others if model == "original" else ():
            centroid = {"kind": "centroid", "class": label, "forgotten": 0, "assigned": ""}
            rows.append(where | centroid | {"x": 9.0 * label, "y": 9.5 * label})
    return pd.DataFrame(rows)


def attribution_maps(images=5, channels=1) -> pd.DataFrame:
    """Random pixels and attributions of 3 x 4 pixels, each image on its own scale."""
    random = np.random.default_rng(3)
    rows = []
    pixels = [("image", f"channel_{k}") for k in range(channels)]
    names = pixels + list(itertools.product(MODELS, ("true", "assigned")))
    for image, (model, output) in itertools.product(range(images), names):
        case = SYSTEM | {"split": "class-3", "train_seed": 0, "image": 7 * image, "label": 3}
        case |= {"assigned": image, "model": model, "output": output}
        for row, column in itertools.product(range(3), range(4)):
            scale = 10.0**-image * random.normal()
            value = random.integers(256) if model == "image" else scale
            rows.append(case | {"row": row, "column": column, "value": value})
    return pd.DataFrame(rows)


def tuning() -> pd.DataFrame:
    """Three candidates of two methods, one of them without a mean."""
    rows = []
    for method, (k, rate) in itertools.product(("duck", "scrub"), enumerate((0.001, 0.01, 0.1))):
        for scenario in ("class_removal", "homogeneous_removal"):
            place = {"dataset": "data", "arch": "cnn", "scenario": scenario, "method": method}
            row = {"candidate": f"{method}-{k}", "settings": json.dumps({"lr": rate})}
            row |= {"chosen": "best" if k == 1 else "", "aus_mean": 0.9 - k / 10, "aus_sd": 0.01}
            rows.append(place | row)
    rows[-1]["aus_mean"] = ""
    return pd.DataFrame(rows)


def lose_one(runs: pd.DataFrame) -> pd.DataFrame:
    """SCRUB diverged on one class of one original."""
    one = (runs["experiment"] == "decay") & (runs["method"] == "scrub")
    return lose(runs, one & (runs["split"] == "class-8"), "diverged", "loss is NaN")


def sensitivity(others: Iterable[str] = ("epochs-8", "decay"), count: int = 2) -> pd.DataFrame:
    """Originals of `others`, each a little better, with three methods; `count` variants of DUCK."""
    variants = [f"duck_lr_{10.0**-k:.5f}" for k in range(1, count + 1)]
    main = synthetic_runs(("scrub", "duck", *variants, "unsir"))
    found = [main.assign(experiment="fashion_mnist_mini-strided_cnn")]
    for k, name in enumerate(others, 1):
        runs = synthetic_runs(("scrub", "duck", "unsir")).assign(experiment=name)
        for column in ("aus", "retain_test_accuracy", "test_accuracy"):
            runs[column] = pd.to_numeric(runs[column]) - 0.004 * k
        found.append(runs)
    return pd.concat(found, ignore_index=True)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "aus_vs_time": with_holes,
    "accuracies": with_holes,
    "ranks": with_holes,
    "sensitivity": lambda: lose_one(sensitivity()),
    "roc": roc_points,
    "tuning": tuning,
    "ablation": lambda: with_study_holes(ablation(), "euclidean", "random_centroid"),
    "architectures": lambda: with_study_holes(architectures(), "duck", "fine_tuning"),
    "multiple_classes": lambda: with_gap(multiple_classes()),
    "attributions": lambda: blank(attributions(), "correlation"),
    "shortcut": lambda: blank(shortcut(), "value"),
    "density": features,
    "destinations": destinations,
    "embedding_maps": maps,
    "attribution_maps": attribution_maps,
}
"""Of every figure the table that its tests look at."""
