"""Every number and verdict that the paper's prose may use, as text under a dotted name.

`quotes` takes them from the CSV files of a run; `paper/paper.typ` asks for them by name, so that
no result is typed there. What a run does not know has no name: asking for it is an error. In a
run of several systems the names are those of the first experiment.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from unlearning.audit.words import tally
from unlearning.claims.pages import VERDICTS
from unlearning.config.experiment import Experiment, RunConfig
from unlearning.config.hyperparameters import FOLDER, known_methods, load
from unlearning.config.parsing import parse
from unlearning.data.catalogue import catalogue
from unlearning.files import read_json
from unlearning.frames import read_table
from unlearning.methods import ORIGINALS, REFERENCES
from unlearning.metrics.aus import SCENARIOS
from unlearning.metrics.names import SHORTCUT
from unlearning.recipe import Recipe
from unlearning.results.keys import CELLS, GROUP
from unlearning.results.manifest import read_manifest
from unlearning.results.runs import read_runs
from unlearning.stats.comparisons import paired
from unlearning.tables.evaluation import LAYOUTS as EVALUATIONS
from unlearning.tables.evaluation_tables import BASELINE
from unlearning.tables.render import percent, plus_minus, probability, score, seconds
from unlearning.tables.study_layouts import LAYOUTS as STUDIES
from unlearning.tables.study_tables import PAIR_DIFFERENCE, RIVAL

Tables = Mapping[str, pd.DataFrame]

ALWAYS = (*SCENARIOS, *EVALUATIONS)
"""The tables that every run has, if only with a header."""
BLANK = (
    *("touches", "settings", "flag", "test_half", "over", "status_note"),
    *("against", "rank_over", "difference_over"),
)
NAMES = (*GROUP, "scenario", "method", "source", "label", *BLANK)
SHORT = {
    "retain_train": "retain_train_accuracy",
    "forget_train": "forget_train_accuracy",
    "retain_test": "retain_test_accuracy",
    "forget_test": "forget_test_accuracy",
    "test": "test_accuracy",
}
APART = {
    "higher": "is higher than",
    "lower": "is lower than",
    "not told apart": "is not told apart from",
}


def read_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """Every table of a run at full precision, by name; those of studies that it lacks are empty.

    Numbers are floats, NaN where empty; names are text. Raises FileNotFoundError for a table
    that every run has.
    """
    found = {name: _read(Path(folder) / f"{name}.csv") for name in ALWAYS}
    for name, layout in STUDIES.items():
        path = Path(folder) / f"{name}.csv"
        found[name] = _read(path) if path.exists() else pd.DataFrame(columns=list(layout.keys))
    return found


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(
        path, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""]
    )
    blanks = [name for name in BLANK if name in table]
    return table.assign(**{name: table[name].fillna("") for name in blanks})


def read_config(source: str | Path) -> RunConfig:
    """The checked config of a run's folder; ConfigError names file and key."""
    path = Path(source) / "config.json"
    return parse(read_json(path), str(path))


def parts(tables: Tables) -> list[str]:
    """The names of the tables that hold anything: what the document has a section on."""
    return [name for name, table in tables.items() if len(table)]


def quotes(source: str | Path, made: str | Path) -> dict[str, str]:
    """The texts by name, from `source` (a run's folder) and `made` (its tables, audit, claims).

    Times in s, accuracies in percent, all rounded as in the printed tables; intervals are 95 %.
    Raises FileNotFoundError or ValueError, naming the file, for one that is missing or malformed.
    """
    source, made = Path(source), Path(made)
    runs, tables = read_runs(source / "runs.csv"), read_tables(made / "tables")
    found = _run(runs, read_config(source)) | _provenance(source / "manifest.csv")
    first = runs[runs["experiment"] == runs["experiment"].iloc[0]]
    main = {name: _of(tables[name], first["experiment"].iloc[0]) for name in ALWAYS}
    for scenario in SCENARIOS:
        cells = first[first["scenario"] == scenario]
        of_scenario = {
            name: table[table["scenario"] == scenario] if len(table) else table
            for name, table in main.items()
        }
        texts = _scenario(cells, scenario, of_scenario) if len(cells) else {}
        found |= {f"{scenario}.{name}": text for name, text in texts.items()}
    found |= _studies(tables)
    found |= _verdicts(made / "audit.csv", made / "claims.csv")
    return {name: typographic(text) for name, text in found.items() if text not in ("", "–")}


def typographic(text: str) -> str:
    """`text` with the minus sign before a number, not a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _of(table: pd.DataFrame, experiment: str) -> pd.DataFrame:
    return table[table["experiment"] == experiment]


def _listed(words: Iterable[str]) -> str:
    """`a, b and c`; nothing is the word none."""
    *most, last = list(words) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def span(value: float, low: float, high: float, places: int = 3, sign: str = "") -> str:
    """`0.512 [0.480, 0.544]`; a value without an interval alone, nothing known –."""
    if math.isnan(value):
        return "–"
    form = f"{sign}.{places}f"
    ends = "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{ends}"


def _p(p: float) -> str:
    text = probability(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _place(values: pd.Series, of: str, lowest: bool) -> str:
    """`3 of 17`: the place of `of` among `values`, 1 for the lowest or the highest."""
    return f"{int(values.rank(ascending=lowest, method='min')[of])} of {len(values)}"


# ---- the run and what made it ----


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


def _run(runs: pd.DataFrame, config: RunConfig) -> dict[str, str]:
    main = next(e for e in config.experiments if e.label == runs["experiment"].iloc[0])
    data = catalogue()[main.dataset]
    methods = [m for m in dict.fromkeys(runs["method"]) if m not in (*REFERENCES, *ORIGINALS)]
    ok = int((runs["status"] == "ok").sum())
    others = runs.loc[runs["status"] != "ok", "status"].value_counts().sort_index()
    found = {
        "run.name": config.run,
        "run.experiment": main.label,
        "run.experiments": _count(runs["experiment"].nunique(), "experiment"),
        "run.dataset": main.dataset,
        "run.arch": main.arch,
        "run.start": "pretrained weights" if main.pretrained else "random weights",
        "run.precision": main.precision,
        "run.cells": _count(len(runs), "cell"),
        "run.ok": str(ok),
        "run.others": _listed(f"{n} {status.replace('_', ' ')}" for status, n in others.items()),
        "run.methods": _count(len(methods), "unlearning method"),
        "run.method_names": _listed(methods),
        "run.recipe": recipe(main.training),
        "run.train_images": f"{data.train:,}",
        "run.test_images": f"{data.test:,}",
        "run.image": f"{data.channels} × {data.size} × {data.size}",
        "run.classes": str(data.classes),
        "run.licence": data.licence,
        "run.dataset_version": data.version,
        "run.checksums": ", ".join(f"{f.file} {f.checksum[:19]}…" for f in data.files),
        "run.training_seeds": _count(len(main.train_seeds), "training seed"),
        "run.unlearning_seeds": _count(len(main.unlearn_seeds), "unlearning seed"),
        "run.seeds": (
            f"training {_listed(map(str, main.train_seeds))}; "
            f"unlearning {_listed(map(str, main.unlearn_seeds))}"
        ),
    }
    searched = _searches(main)
    if searched:
        found["run.search"] = f"a search: {'; '.join(searched)}"
    else:
        found["run.search"] = "no search of its own: the files in configs/methods name each source"
    if main.attacks:
        found["run.shadows"] = str(main.attacks.shadows)
    return found


def _searches(main: Experiment) -> list[str]:
    """What the method files say of the searches that the settings of an experiment are from.

    An experiment of a run before `settings_from` was there took searched ones if it had a search.
    """
    if main.settings_from != "searched" and not main.tuning:
        return []
    methods = {v.method for v in main.variants} & set(known_methods(FOLDER))
    blocks = [block for m in methods for block in load(f"{FOLDER}/{m}.yaml")["tuned"]]
    here = {"dataset": main.dataset, "arch": main.arch}
    return sorted({b["source"] for b in blocks if here.items() <= b["when"].items()})


def _provenance(path: Path) -> dict[str, str]:
    manifest = read_manifest(path)
    made = manifest[manifest["record"] != ""]
    versions = [json.loads(text) for text in made["software"].unique()]
    names = sorted({name for found in versions for name in found})
    software = {
        name: " / ".join(sorted({str(v[name]) for v in versions if name in v})) for name in names
    }
    spent = made.groupby(made["method"].eq("oracle"))["seconds"].sum()
    dirty = int((made["dirty"] == "True").sum())
    return {
        "made.records": _count(len(made), "record"),
        "made.cells": str(len(manifest)),
        "made.commits": _listed(sorted({c[:12] for c in made["commit"]} - {""})),
        "made.dirty": "none" if dirty == 0 else f"{dirty} of {len(made)}",
        "made.devices": _listed(sorted(set(made["device"]))),
        "made.machines": _listed(sorted(set(made["machine"]))),
        "made.software": ", ".join(f"{name} {version}" for name, version in software.items()),
        "made.began": min(made["started"], default=""),
        "made.ended": max(made["started"], default=""),
        "made.unlearning": _duration(spent.get(False, math.nan)),
        "made.retraining": _duration(spent.get(True, math.nan)),
        "made.data": _listed(f"{h[:16]}…" for h in sorted(set(made["data_sha256"]))),
        "made.splits": _count(made["split_sha256"].nunique(), "forget set file"),
        "made.starts": _count(made["start_sha256"].nunique(), "starting model"),
        "made.settings": _count(made["settings_sha256"].nunique(), "settings file"),
        "made.code": _count(made["code_sha256"].nunique(), "state") + " of the code",
    }


def _duration(spent: float) -> str:
    if math.isnan(spent):
        return "–"
    return f"{spent:.0f} s" if spent < 120 else f"{spent / 60:.0f} min"


# ---- one scenario ----


def _scenario(cells: pd.DataFrame, scenario: str, tables: Tables) -> dict[str, str]:
    table, statistics = tables[scenario], tables["statistics"]
    done = table[table["n_ok"] > 0].set_index("method")
    aus = statistics[statistics["metric"] == "aus"].set_index("method")
    found = {"sets": _forget_sets(cells), "spread": _spread(table)}
    for method, row in done.iterrows():
        found |= {f"{method}.{name}": text for name, text in _method(row).items()}
    for method, row in aus.iterrows():
        found[f"{method}.aus_interval"] = span(row["mean"], row["low"], row["high"])
        found[f"{method}.paper_aus"] = score(row["paper_mean"], row["paper_sd"])
    lost = table.loc[table["n_ok"] == 0, "method"]
    found["lost"] = _listed(lost) if len(lost) else ""
    if BASELINE in done.index:
        found |= _beside(done, aus) | _ranked(aus)
    found |= _against_oracle(cells, "aus", "DUCK's AUS", "the oracle's")
    found |= _attacked(tables["membership"].set_index("method"))
    found |= _distant(tables["oracle_distance"].set_index("method"))
    return found | _varied(tables["variance"].set_index("method"))


def _forget_sets(cells: pd.DataFrame) -> str:
    """`classes 0 and 8`, or how many random forget sets."""
    splits = list(dict.fromkeys(cells["split"]))
    if all(split.startswith("class-") for split in splits):
        names = _listed(split.removeprefix("class-") for split in splits)
        return f"class{'es' if len(splits) > 1 else ''} {names}"
    return _count(len(splits), "forget set")


def _spread(table: pd.DataFrame) -> str:
    """What a ± of the scenario runs over, and how many runs that are."""
    done = table[table["n_ok"] > 0]
    if done.empty:
        return ""
    usual = done.loc[done["n_ok"].idxmax()]
    if usual["n_ok"] == 1:
        return "each row is one run and has no spread"
    over = usual["over"].replace(" x ", " × ")
    return f"± is the sample standard deviation over {over} (n = {usual['n_ok']})"


def _method(row: pd.Series) -> dict[str, str]:
    found = {
        name: percent(row[f"{metric}_mean"], row[f"{metric}_sd"])
        for name, metric in SHORT.items()
        if f"{metric}_mean" in row
    }
    return found | {
        "aus": score(row["aus_mean"], row["aus_sd"]),
        "aus_of_means": score(row["aus_of_means"], row["aus_of_means_sd"]),
        "seconds": seconds(row["unlearning_seconds_mean"], row["unlearning_seconds_sd"]),
        "n": str(row["n_ok"]),
    }


def _rivals(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in (*REFERENCES, *ORIGINALS, BASELINE)]


def _beside(done: pd.DataFrame, aus: pd.DataFrame) -> dict[str, str]:
    """DUCK among its rivals: verdicts, places, and who is both better and sooner."""
    rivals = _rivals(done.index)
    spent, scores = done["unlearning_seconds_mean"], done["aus_mean"]
    found = {}
    if "oracle" in done.index:
        found["speedup"] = plus_minus(spent["oracle"] / spent[BASELINE], math.nan, 1)
    if not rivals:
        return found | {"rivals": "No other method is in this run."}
    better = scores[rivals] >= scores[BASELINE]
    both = better & (spent[rivals] <= spent[BASELINE])
    ahead = _listed(both[both].index)
    found["dominating"] = (
        f"{ahead} {'reach' if both.sum() > 1 else 'reaches'} at least DUCK's mean AUS in no more "
        "than its mean time"
        if both.any()
        else "no other method reaches DUCK's mean AUS in as little time"
    )
    shown = scores[[BASELINE, *rivals]].dropna()
    found["place"] = _place(shown, BASELINE, lowest=False)
    found["time_place"] = _place(spent[[BASELINE, *rivals]].dropna(), BASELINE, lowest=True)
    found["best"] = f"{shown.idxmax()} ({shown.max():.3f})"
    return found | {"rivals": _tested_rivals(aus, rivals)}


def _tested_rivals(aus: pd.DataFrame, rivals: Sequence[str]) -> str:
    verdicts = aus.loc[[name for name in rivals if name in aus.index], "verdict"]
    groups = {name: list(verdicts.index[verdicts == name]) for name in (*APART, "not tested")}
    parts = [
        f"{len(groups[name])} {word} ({_listed(groups[name])})"
        for name, word in (("higher", "higher"), ("lower", "lower"))
        if groups[name]
    ]
    if groups["not told apart"]:
        parts.append(f"{len(groups['not told apart'])} not told apart from it")
    if groups["not tested"]:
        parts.append(f"{len(groups['not tested'])} not tested, for want of cells")
    return f"Of {_count(len(verdicts), 'other method')}, by AUS against DUCK: {_listed(parts)}."


def _ranked(aus: pd.DataFrame) -> dict[str, str]:
    if BASELINE not in aus.index or math.isnan(aus.loc[BASELINE, "rank"]):
        return {"ranked": "Ranks need three methods, and two classes or seeds with all of them."}
    row = aus.loc[BASELINE]
    return {
        "ranked": (
            f"DUCK's mean rank is {row['rank']:.1f} over {int(row['rank_blocks'])} "
            f"{row['rank_over']} (Friedman's test of all methods: {_p(row['friedman_p'])}; "
            f"critical difference {row['critical_difference']:.1f})."
        )
    }


def _against_oracle(cells: pd.DataFrame, metric: str, what: str, other: str) -> dict[str, str]:
    """The paired comparison of DUCK with the oracle over the cells that both have."""
    done = cells[(cells["status"] == "ok") & cells[metric].notna()]
    values = done.pivot_table(index=CELLS, columns="method", values=metric, sort=False)
    if not {BASELINE, "oracle"} <= set(values):
        return {}
    test = paired(values[["oracle", BASELINE]], "oracle").loc[BASELINE]
    amount = span(test["difference"], test["low"], test["high"], sign="+")
    over = _count(int(test["n"]), "shared cell")
    reach = f"for {test['over']}"
    if test["verdict"] not in APART:
        text = f"{what} differs from {other} by {amount} over {over}, which no test can judge"
    else:
        text = (
            f"{what} {APART[test['verdict']]} {other}: {amount} over {over} "
            f"({reach}, {_p(test['p'])})"
        )
    return {"duck_minus_oracle": amount, "duck_oracle": text}


def _attacked(attacks: pd.DataFrame) -> dict[str, str]:
    """LiRA on original, DUCK and oracle, and DUCK's place by the distance from the oracle."""
    known = attacks["lira_auc_mean"].notna()
    attacks = attacks[known]
    found = {
        f"{method}.lira": span(row["lira_auc_mean"], row["lira_auc_low"], row["lira_auc_high"])
        for method, row in attacks.iterrows()
    }
    if not {BASELINE, "oracle"} <= set(attacks.index):
        return found
    duck, oracle = attacks.loc[BASELINE], attacks.loc["oracle"]
    if duck["lira_auc_low"] > oracle["lira_auc_high"]:
        found["lira_verdict"] = "DUCK's interval lies wholly above the oracle's"
    elif duck["lira_auc_high"] < oracle["lira_auc_low"]:
        found["lira_verdict"] = "DUCK's interval lies wholly below the oracle's"
        if duck["lira_auc_high"] < 0.5:
            found["lira_verdict"] += " and below 0.5: an attack turned round tells forgotten images"
    else:
        found["lira_verdict"] = "DUCK's interval overlaps with the oracle's"
    rivals = [BASELINE, *_rivals(attacks.index)]
    gaps = (attacks["lira_auc_mean"] - oracle["lira_auc_mean"]).abs()[rivals]
    return found | {"lira_place": _place(gaps, BASELINE, lowest=True)}


def _distant(distances: pd.DataFrame) -> dict[str, str]:
    shown = {
        "js_forget": lambda mean, sd: plus_minus(mean, sd, 3),
        "cka_forget": lambda mean, sd: plus_minus(mean, sd, 3),
        "agreement_forget": percent,
        "accuracy_gap": percent,
        "probe_accuracy": percent,
        "relearn_steps": lambda mean, sd: plus_minus(mean, sd, 1),
    }
    found = {
        f"{method}.{metric}": show(row[f"{metric}_mean"], row[f"{metric}_sd"])
        for method, row in distances.iterrows()
        for metric, show in shown.items()
    }
    nearest = distances["js_forget_mean"].dropna()
    nearest = nearest[[name for name in (BASELINE, *_rivals(nearest.index)) if name in nearest]]
    if BASELINE in nearest:
        found["js_place"] = _place(nearest, BASELINE, lowest=True)
        found["js_best"] = f"{nearest.idxmin()} ({nearest.min():.3f})"
    return found


def _varied(variance: pd.DataFrame) -> dict[str, str]:
    """The standard deviations that DUCK's AUS owes to each factor, those that are known."""
    if BASELINE not in variance.index:
        return {}
    named = {
        "train_seed": "training seed",
        "split": "forget set",
        "interaction": "the two together",
        "unlearn_seed": "unlearning seed",
    }
    row = variance.loc[BASELINE]
    parts = [
        f"{math.sqrt(row[name]):.4f} ({what})"
        for name, what in named.items()
        if not math.isnan(row[name])
    ]
    if not parts:
        return {"varied": "One run says nothing of what AUS varies with."}
    return {"varied": f"The spread of DUCK's AUS divides into {_listed(parts)}."}


# ---- the studies ----


def _studies(tables: Tables) -> dict[str, str]:
    found = {}
    for name, texts in {
        "feature_space": _features,
        "attributions": _attributions,
        "shortcut": _shortcut,
        "multiple_classes": _many,
        "ablation": _ablation,
        "architectures": _architectures,
    }.items():
        if len(tables[name]):
            table = tables[name]
            first = table if name == "architectures" else _of(table, table["experiment"].iloc[0])
            found |= {f"{name}.{key}": text for key, text in texts(first).items()}
    return found


def _features(table: pd.DataFrame) -> dict[str, str]:
    """`embedding.margin.forget.duck`, and its tests: `….forget.duck_oracle`, `….duck.parts`."""
    found = {"n": str(int(table["n"].max()))}
    for row in table.to_dict("records"):
        part, model = row["quantity"].split(", ")
        stem = f"{row['layer']}.{row['measure']}"
        if not row["against"]:
            places = 2 if row["measure"] == "log_density" else 3
            found[f"{stem}.{part}.{model}"] = plus_minus(row["mean"], row["sd"], places)
        elif row["against"].startswith(part):
            found[f"{stem}.{part}.duck_oracle"] = _rank_tested(row)
        else:
            found[f"{stem}.{model}.parts"] = _rank_tested(row)
    return found


def _rank_tested(row: Mapping) -> str:
    amount = span(row["difference"], row["low"], row["high"], sign="+")
    if math.isnan(row["p"]):
        return f"{amount} (n = {int(row['n'])}, no test)"
    word = "not told apart" if row["verdict"] == "not told apart" else "told apart"
    return (
        f"{amount} (n = {int(row['n'])}, for {row['over']}: {word}, {_p(row['p'])}; Wilcoxon "
        f"{_p(row['signed_rank_p'])}, Mann–Whitney {_p(row['rank_sum_p'])})"
    )


def _attributions(table: pd.DataFrame) -> dict[str, str]:
    found = {}
    for row in table.to_dict("records"):
        if row["pair"] == PAIR_DIFFERENCE:
            amount = span(row["group_mean"], row["group_low"], row["group_high"], sign="+")
            groups = 0 if math.isnan(row["groups"]) else int(row["groups"])
            reach = f", for {row['over']}" if row["over"] else ""
            found[f"{row['output']}.difference"] = f"{amount} over {_count(groups, 'model')}{reach}"
        else:
            pair = row["pair"].replace("~", "_")
            found[f"{row['output']}.{pair}"] = plus_minus(row["mean"], row["sd"], 3)
            found[f"{row['output']}.images"] = str(row["n"])
    return found


def _shortcut(table: pd.DataFrame) -> dict[str, str]:
    found = {"seeds": _count(int(table["seeds"].max()), "training seed")}
    for row in table.to_dict("records"):
        for measure in SHORTCUT:
            text = percent(row[f"{measure}_mean"], row[f"{measure}_sd"])
            found[f"{row['method']}.{measure}"] = text
    return found


def _many(table: pd.DataFrame) -> dict[str, str]:
    """What DUCK reaches with the fewest and most classes removed, and against Fine-Tuning."""
    duck = table[(table["method"] == BASELINE) & (table["n_ok"] > 0)].set_index("classes_removed")
    if duck.empty:
        return {}
    fewest, most = duck.index.min(), duck.index.max()
    found = {"fewest": str(int(fewest)), "most": str(int(most))}
    for name, count in (("fewest", fewest), ("most", most)):
        found[f"{name}.duck"] = score(duck.loc[count, "aus_mean"], duck.loc[count, "aus_sd"])
    known = duck["difference"].notna()
    if not known.any():
        found["against"] = f"{RIVAL} is not in this study."
        return found
    above = duck.loc[known, "difference"] > 0
    apart = duck.loc[known, "difference_low"] * duck.loc[known, "difference_high"] > 0
    last = duck.loc[known].iloc[-1]
    amount = span(last["difference"], last["difference_low"], last["difference_high"], sign="+")
    found["against"] = (
        f"DUCK's mean AUS is above that of {RIVAL} at {above.sum()} of "
        f"{_count(len(above), 'number')} of classes; the interval of the difference excludes zero "
        f"at {apart.sum()}. With {int(last.name)} removed it is {amount}{_reach(last)}."
    )
    return found


def _reach(row: Mapping) -> str:
    """To what the difference of a row generalises, if to anything."""
    return f" (for {row['difference_over']})" if row["difference_over"] else ""


def _ablation(table: pd.DataFrame) -> dict[str, str]:
    """Which of the variants are told apart from DUCK, and which change AUS the most."""
    variants = table[table["verdict"].isin((*APART, "not tested"))].set_index("method")
    if variants.empty:
        return {"verdicts": "No variant shares a cell with DUCK."}
    apart = variants[variants["verdict"].isin(("higher", "lower"))]
    told = [f"{name} ({row['difference']:+.3f})" for name, row in apart.iterrows()]
    untested = int((variants["verdict"] == "not tested").sum())
    pairs = int(variants["pairs"].max())
    text = (
        f"Of {_count(len(variants), 'variant')} over {_count(pairs, 'cell')}"
        f"{_reach(variants.iloc[0])}, {_listed(told)} "
        f"{'are' if len(told) > 1 else 'is'} told apart from DUCK after Holm's correction"
    )
    found = {"verdicts": text + (f", {untested} cannot be tested." if untested else ".")}
    order = variants["difference"].sort_values(kind="stable")
    shown = [f"{name} ({value:+.3f})" for name, value in order.head(3).items()]
    return found | {"lowest": _listed(shown), "duck": _scored(table, BASELINE)}


def _scored(table: pd.DataFrame, method: str) -> str:
    row = table[table["method"] == method].iloc[0]
    return score(row["aus_mean"], row["aus_sd"])


def _architectures(table: pd.DataFrame) -> dict[str, str]:
    """DUCK's AUS less the oracle's on each architecture, in class removal."""
    removal = table[(table["scenario"] == "class_removal") & (table["n_ok"] > 0)]
    values = removal.pivot_table(index=["arch", "experiment"], columns="method", values="aus_mean")
    if not {BASELINE, "oracle"} <= set(values):
        return {}
    values = values.dropna(subset=[BASELINE, "oracle"])
    gaps = values[BASELINE] - values["oracle"]
    each = [f"{arch} {gap:+.3f}" for (arch, _), gap in gaps.items()]
    return {"count": str(len(gaps)), "gaps": _listed(each)}


# ---- audit and claims ----


def _verdicts(audit_csv: Path, claims_csv: Path) -> dict[str, str]:
    audit, claims = read_table(audit_csv), read_table(claims_csv)
    said = _tally(claims, VERDICTS)
    numbers, asked = len(audit), claims["claim"].nunique()
    failing = claims.loc[claims["verdict"] == "does not hold", "statement"].unique()
    against = " ".join(f"({k}) {text}" for k, text in enumerate(failing, 1))
    holding = claims.groupby("claim")["verdict"].agg(
        lambda found: set(found) - {"not tested"} == {"holds"}
    )
    return {
        "audit.rows": str(numbers),
        "audit.summary": f"{_count(numbers, 'reported number')}: {tally(audit)}.",
        "claims.count": _count(asked, "claim"),
        "claims.summary": f"Asked {_count(len(claims), 'time')} of this run, {said}.",
        "claims.failing": f"Against this run: {against or 'none.'}",
        "claims.holding": str(int(holding.sum())),
    }


def _tally(frame: pd.DataFrame, verdicts: Sequence[str]) -> str:
    """How often each of the verdicts was given."""
    phrases = {
        "holds": "they hold {} times",
        "does not hold": "do not hold {}",
        "does not discriminate": "hold {} times but do not discriminate from doing nothing",
        "not told apart": "are not told apart {}",
        "not tested": "are not tested {}",
    }
    counts = frame["verdict"].value_counts()
    return _listed(phrases[name].format(counts.get(name, 0)) for name in verdicts)
