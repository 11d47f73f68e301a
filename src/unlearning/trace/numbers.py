"""Trace a printed number to its cells, and to what made each of them.

The number is not trusted: its table is computed again from runs.csv and similar files and compared
with every copy, the CSV file to the last bit, the Markdown as printed.
"""

from __future__ import annotations

import difflib
import io
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unlearning.files import read_json, sha256_file
from unlearning.metrics.names import METRICS
from unlearning.records.record import RECORD, input_paths
from unlearning.results.manifest import INPUTS, read_manifest
from unlearning.results.runs import read_runs
from unlearning.results.study_files import VALUES, read_studies, read_tidy
from unlearning.tables.evaluation_tables import BASELINE, KEY, read_ensembles
from unlearning.tables.render import Section
from unlearning.tables.study_tables import (
    DIFFERENCE,
    DUCK_PAIR,
    ORIGINAL_PAIR,
    PAIR_DIFFERENCE,
    RIVAL,
)

IDENTITY = [
    *("row", "claim", "experiment", "dataset", "arch", "scenario", "classes_removed"),
    *("source", "label", "method", "metric", "layer", "measure", "percentile", "quantity"),
    *("against", "output", "pair"),
]
"""The columns that name a row of a table, of those that it has."""
LISTED = 40
"""Maximum number of a column's values in a message."""
CELL = [*KEY, "split", "train_seed", "unlearn_seed", "method"]
PARTS = {"mean": statistics.fmean, "sd": statistics.stdev, "n": len}
"""What a column METRIC_PART is of the cells' values."""
MEASURED = ("scores", "attacks", "probes")
OUTPUTS = "outputs.safetensors"
"""The logits of a cell, beside its record."""
PAIRED = ("difference", "difference_low", "difference_high", "p", "p_holm", "verdict")
RANKED = ("rank", "rank_blocks", "friedman_p", "critical_difference")


class NotFound(ValueError):
    """No such table, row or column; the message lists what there is."""


@dataclass(frozen=True)
class Run:
    """The files of a run: `folder` has runs.csv, config.json and manifest.csv.

    made: the folder with tables/, audit.csv and claims.csv, the same unless drawn elsewhere.
    """

    folder: Path
    made: Path

    @cached_property
    def runs(self) -> pd.DataFrame:
        """runs.csv, typed."""
        return read_runs(self._there("runs.csv"))

    @cached_property
    def studies(self) -> pd.DataFrame:
        """studies.csv, typed."""
        return read_studies(self._there("studies.csv"))

    @cached_property
    def ensembles(self) -> pd.DataFrame | None:
        """ensembles.csv, typed; None if it is not there."""
        path = self.folder / "ensembles.csv"
        return read_ensembles(path) if path.is_file() else None

    def tidy(self, kind: str) -> pd.DataFrame:
        """features.csv, attributions.csv or shortcut.csv."""
        return read_tidy(self._there(f"{kind}.csv"), kind)

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The rows of manifest.csv and study_manifest.csv, of those that are there."""
        paths = [self.folder / f"{name}.csv" for name in ("manifest", "study_manifest")]
        found = [read_manifest(path) for path in paths if path.is_file()]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=CELL)

    @cached_property
    def name(self) -> str:
        """What the run is called: its files were made below results/NAME."""
        return read_json(self._there("config.json"))["run"]

    def here(self, path: str) -> Path:
        """Where a file of a command is now: below this folder, or as the command has it."""
        made, inside = Path(f"results/{self.name}"), Path(path)
        if inside.is_relative_to(made):
            return self.folder / inside.relative_to(made)
        beside = self.folder.parent.parent / inside
        return beside if beside.is_file() else inside

    def _there(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise NotFound(
                f"{path}: no such file; name a run's folder, and with --made where its tables are "
                "if they were drawn elsewhere"
            )
        return path


@dataclass(frozen=True)
class Table:
    """A table: how it is made again, how it is printed, and what its rows are made of.

    frame: from the run's files. sections: the printed tables of a frame, in its order; None if it
    is not printed. values: the measurements behind a row and column, a row each with `value`,
    `metric` and what is known of CELL. file: its name below `made`, without an ending.
    """

    frame: Callable[[Run], pd.DataFrame]
    sections: Callable[[pd.DataFrame], list[Section]] | None
    values: Callable[[Run, Mapping[str, Any], str], pd.DataFrame]
    file: str


def trace(run: Run, tables: Mapping[str, Table], name: str, words: Sequence[str]) -> dict[str, Any]:
    """What a number is, as JSON: its value, its copies, its cells, what made them, and `wrong`.

    words: what names the row, each a value of IDENTITY or `column=value`, and last the column: one
    of the CSV file, a metric (its mean), or a header as it is printed. `wrong` lists what does not
    agree. Raises NotFound, listing what there is, for an unknown table, row or column.
    """
    table = tables[_one(name, tables, "table")]
    frame = table.frame(run).reset_index(drop=True)
    if frame.empty:
        raise NotFound(f"{name}: this run has no row of it")
    if not words:
        raise NotFound(f"{name}: name a row and a column; rows: {_choices(frame)}")
    *rows, last = words
    place = _row(name, frame, rows)
    column = _column(table, frame, place, last)
    row = frame.loc[place].to_dict()
    number = _text(frame.loc[[place]])[column].iloc[0]
    values = table.values(run, row, column).reset_index(drop=True)
    copies = [*_csv_copy(run, table, frame, place, column)]
    copies += _printed_copies(run, table, frame, place, column)
    cells = _cells(run, values)
    found = {
        "run": run.folder.as_posix(),
        "table": name,
        "row": {key: str(row[key]) for key in IDENTITY if not pd.isna(row.get(key, math.nan))},
        "column": column,
        "value": number,
        "copies": copies,
        "values": values.astype(object).where(values.notna(), None).to_dict("records"),
        "again": _again(column, row, values),
        "cells": cells,
        "models": _models(run, cells),
    }
    return found | {"wrong": list(_wrong(found))}


def _one(asked: str, known: Iterable[str], what: str) -> str:
    """`asked`, if it is known. Raises NotFound with the nearest one and all of them."""
    known = list(known)
    if asked in known:
        return asked
    near = difflib.get_close_matches(asked, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise NotFound(f"no {what} {asked!r}{hint} There are: {', '.join(known)}")


def _identity(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of IDENTITY, as the CSV file has them."""
    names = [name for name in IDENTITY if name in frame]
    return frame[names].map(lambda value: "" if pd.isna(value) else str(value))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Those that are enough to tell rows apart: an audit's rows have a number."""
    text = _identity(frame)
    names = list(text)
    if "row" in names:
        names = ["row"]
    if "claim" in names:
        names = [name for name in ("claim", *KEY) if name in names]
    return text[names]


def _choices(frame: pd.DataFrame) -> str:
    """The columns that tell rows apart, with their values."""
    found = []
    for name, column in _named(frame).items():
        values = [v if v and ", " not in v else repr(v) for v in dict.fromkeys(column)]
        more = [f"… ({len(values)})"] if len(values) > LISTED else []
        if len(values) > 1:
            found.append(f"{name}: {', '.join([*values[:LISTED], *more])}")
    return "; ".join(found)


def _row(table: str, frame: pd.DataFrame, words: Sequence[str]) -> int:
    """The index of the one row that every word fits."""
    text = _identity(frame)
    names = list(text)
    kept = pd.Series(True, index=frame.index)
    for word in words:
        key, equals, value = word.partition("=")
        named = equals and key in names
        fits = text[key] == value if named else (text == word).any(axis=1)
        if not fits.any():
            known = sorted({value for name in names for value in text[name]} - {""})
            near = difflib.get_close_matches(value if named else word, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise NotFound(f"{table}: no row has {word!r}{hint} Rows: {_choices(frame)}")
        kept &= fits
    if not kept.any():
        raise NotFound(f"{table}: no row has all of {', '.join(words)}. Rows: {_choices(frame)}")
    if kept.sum() > 1:
        raise NotFound(f"{table}: {kept.sum()} rows fit; say which: {_choices(frame[kept])}")
    return int(frame.index[kept][0])


def _column(table: Table, frame: pd.DataFrame, place: int, asked: str) -> str:
    """The column of the CSV file that `asked` means."""
    numbers = [name for name in frame if name not in IDENTITY]
    for name in (asked, f"{asked}_mean"):
        if name in numbers:
            return name
    if table.sections:
        for name in numbers:
            headers = _printed(table.sections, frame, place, name)
            if any(asked.lower() == header.lower() for *_, header in headers):
                return name
    return _one(asked, numbers, "column")


def _printed(
    sections: Callable[[pd.DataFrame], list[Section]], frame: pd.DataFrame, place: int, column: str
) -> list[tuple[int, int, str]]:
    """Where a number is printed: section, row and header of what changes if it changes."""
    if not pd.api.types.is_numeric_dtype(frame[column]):
        return []
    other = frame.copy()
    value = float(other.loc[place, column])
    other[column] = other[column].astype(float)
    other.loc[place, column] = 0.25 if not abs(value - 0.25) < 0.05 else 0.75
    if pd.api.types.is_integer_dtype(frame[column]):
        other[column] = frame[column]
        other.loc[place, column] = int(value) + 1
    before, after = sections(frame), sections(other)
    return [
        (number, row, header)
        for number, (one, two) in enumerate(zip(before, after, strict=True))
        for header in one.cells.columns.intersection(two.cells.columns)
        for row in np.flatnonzero((one.cells[header] != two.cells[header]).to_numpy())
    ]


def _text(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame as its CSV file has it."""
    return pd.read_csv(
        io.StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False
    ).set_index(frame.index)


def _csv_copy(
    run: Run, table: Table, frame: pd.DataFrame, place: int, column: str
) -> Iterable[dict[str, Any]]:
    path = run.made / f"{table.file}.csv"
    if not path.is_file():
        return
    there = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = [name for name in _named(frame) if name in there]
    same = there[(there[names] == _named(frame).loc[place, names]).all(axis=1)]
    expected = _text(frame.loc[[place]])[column].iloc[0]
    copy = {"file": path.as_posix(), "column": column, "expected": expected}
    if column not in there or len(same) != 1:
        yield copy | {"found": None, "agrees": False}
        return
    found = same[column].iloc[0]
    yield copy | {"found": found, "agrees": found == copy["expected"]}


def _printed_copies(
    run: Run, table: Table, frame: pd.DataFrame, place: int, column: str
) -> Iterable[dict[str, Any]]:
    """Each cell of the Markdown file that prints the number."""
    path = run.made / f"{table.file}.md"
    if table.sections is None or not path.is_file():
        return
    sections = table.sections(frame)
    there = read_markdown(path.read_text(encoding="utf-8"))
    for number, place_in, header in _printed(table.sections, frame, place, column):
        section = sections[number]
        ours = dict(zip(section.cells, section.cells.iloc[place_in], strict=True))
        ours = {head.strip(): text.strip() for head, text in ours.items()}
        named = list(ours.items())[: section.left]
        rows = [
            row
            for row in there.get(section.title, [])
            if all(row.get(head) == text for head, text in named if head != header.strip())
        ]
        found = rows[0].get(header.strip()) if len(rows) == 1 else None
        expected = ours[header.strip()]
        copy = {"file": path.as_posix(), "column": header, "expected": expected, "found": found}
        yield copy | {"agrees": found == expected}


def read_markdown(text: str) -> dict[str, list[dict[str, str]]]:
    """The tables of `render.markdown` by title: each row as its cells by header."""
    found: dict[str, list[dict[str, str]]] = {}
    title, header = "", None
    for line in text.splitlines():
        if named := re.match(r"\*\*(.+?)\.\*\* ", line):
            title, header = _plain(named[1]), None
        elif line.startswith("|"):
            cells = [_plain(part.strip()) for part in re.split(r"(?<!\\)\|", line)[1:-1]]
            if header is None:
                header = cells
                found.setdefault(title, [])
            elif not set("".join(cells)) <= set(":-"):
                found[title].append(dict(zip(header, cells, strict=True)))
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\([|*<>`\\])", r"\1", text)


def _again(column: str, row: Mapping[str, Any], values: pd.DataFrame) -> dict[str, Any] | None:
    """The number by plain arithmetic from the values; None if it is no mean, spread or count."""
    metric, _, part = column.rpartition("_")
    if column in PARTS:
        metric, part = "", column
    if part not in PARTS or metric in ("aus_of_means", "group", "paper") or not len(values):
        return None
    if values["metric"].nunique() != 1 or values["method"].nunique() != 1:
        return None
    known = values["value"].dropna().tolist()
    if len(known) < {"mean": 1, "sd": 2, "n": 0}[part]:
        return None
    found = float(PARTS[part](known))
    number = float(row[column])
    agrees = math.isclose(found, number, rel_tol=1e-9, abs_tol=1e-12)
    return {"part": part, "n": len(known), "value": found, "agrees": agrees}


def _cells(run: Run, values: pd.DataFrame) -> list[dict[str, Any]]:
    """The manifest's rows of the cells that the values are of, with what is here of them now."""
    names = [name for name in CELL if name in values]
    if not len(values):
        return []
    wanted = values[names].fillna("").astype(str).drop_duplicates()
    wanted = wanted[[name for name in wanted if (wanted[name] != "").all()]]
    columns = list(wanted)
    if not len(run.manifest):
        return []
    found = run.manifest.merge(wanted, on=columns)
    return [_cell(run, row, values) for row in found.to_dict("records")]


def _cell(run: Run, row: dict[str, Any], values: pd.DataFrame) -> dict[str, Any]:
    row = {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in row.items()}
    if not row["record"]:
        return row | {"here": {}, "measured": []}
    here = {"record": state(run.folder / row["record"], row["record_sha256"])}
    for role in INPUTS:
        file = row[f"{role}_path"]
        here[role] = state(run.here(file), row[f"{role}_sha256"]) if file else "not named"
    outputs = _outputs(run.folder / row["record"])
    if outputs:
        here["outputs"] = state(run.folder / row["record"].replace(RECORD, OUTPUTS), outputs)
    measured = list(_measured(run, row, values))
    return row | {"outputs_sha256": outputs, "here": here, "measured": measured}


def _outputs(record: Path) -> str | None:
    """The hash of a cell's logits as its record states it, if that is here and it has any."""
    return read_json(record)["outputs"].get("outputs") if record.is_file() else None


def state(path: Path, sha256: str) -> str:
    """`same`, `not here`, or `changed: SHA-256 of what is there`."""
    if not path.is_file():
        return "not here"
    found = sha256_file(path)
    return "same" if found == sha256 else f"changed: {found}"


def _measured(run: Run, row: Mapping[str, Any], values: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """The cell's values beside those of the files that they were collected from, if here."""
    name = f"{row['method']}/unlearn-{row['unlearn_seed']}"
    group = row["record"].removesuffix(f"/{name}/record.json").replace("/runs/", "/{}/", 1)
    files = [run.folder / f"{group.format(stage)}.json" for stage in MEASURED]
    found = {}
    for path in filter(Path.is_file, files):
        metrics = read_json(path)["cells"].get(name, {"metrics": {}})["metrics"]
        found |= {metric: (path.as_posix(), value) for metric, value in metrics.items()}
    record = run.folder / row["record"]
    if record.is_file():
        made = read_json(record)
        found |= {key: (record.as_posix(), made[key]) for key in METRICS if key in made}
    names = [name for name in CELL if name in values]
    own = values[(values[names].astype(str) == pd.Series({n: row[n] for n in names})).all(axis=1)]
    for value in own.to_dict("records"):
        if value["metric"] in found and "split" in names:
            file, there = found[value["metric"]]
            agrees = there == value["value"] or (there is None and math.isnan(value["value"]))
            yield {"metric": value["metric"], "file": file, "value": there, "agrees": agrees}


def _models(run: Run, cells: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The originals and oracles that the cells start from or are measured against, once each."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if not cell["record"]:
            continue
        _add_model(run, found, cell, "start")
        peers = run.manifest[(run.manifest["method"] == "oracle") & (run.manifest["record"] != "")]
        keys = [name for name in CELL if name not in ("method", "unlearn_seed")]
        for peer in peers[(peers[keys] == pd.Series(cell)[keys]).all(axis=1)].to_dict("records"):
            _add_model(run, found, peer, "oracle")
    return list(found.values())


def _add_model(run: Run, found: dict, cell: Mapping[str, Any], role: str) -> None:
    weights = cell["start_path"]
    record = Path(weights).with_name(RECORD).as_posix() if weights else ""
    if not record or record in found:
        return
    path = run.here(record)
    made = read_json(path) if path.is_file() else {}
    named = input_paths(made).get("pretrained") if made else None
    pretrained = cell.get("pretrained_sha256")
    found[record] = {
        "role": role,
        "pretrained": named,
        "pretrained_sha256": pretrained or None,
        "pretrained_here": state(run.here(named), pretrained) if named and pretrained else None,
        "record": record,
        "record_sha256": sha256_file(path) if made else "not here",
        "weights": weights,
        "weights_sha256": cell["start_sha256"],
        "weights_here": state(run.here(weights), cell["start_sha256"]),
        "command": made.get("command"),
    }


def _wrong(found: Mapping[str, Any]) -> Iterable[str]:
    """A line for everything that does not agree."""
    for copy in found["copies"]:
        if not copy["agrees"]:
            shown = "nothing of this row" if copy["found"] is None else copy["found"]
            where = f"{copy['file']}, {copy['column']}"
            yield f"{where}: says {shown}, the run's files give {copy['expected'] or 'nothing'}"
    again = found["again"]
    if again and not again["agrees"]:
        yield f"{again['part']} of the {again['n']} values is {again['value']!r}, not the number"
    for cell in found["cells"]:
        where = f"{cell['method']}, {cell['split']}, training seed {cell['train_seed']}"
        for role, now in cell["here"].items():
            if now.startswith("changed"):
                yield f"{where}: its {role} differs from the manifest ({now})"
        for one in cell["measured"]:
            if not one["agrees"]:
                yield f"{where}: {one['metric']} is {one['value']} in {one['file']}"
    for model in found["models"]:
        if model["weights_here"].startswith("changed"):
            yield f"{model['weights']}: {model['weights_here']}, the cells started from another"
        now = model["pretrained_here"] or ""
        if now.startswith("changed"):
            yield f"{model['pretrained']}: {now}, {model['weights']} was trained from another"


# What the rows of each kind of table are made of.


def run_values(
    runs: pd.DataFrame, row: Mapping[str, Any], methods: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """The cells of `methods` in the place of a row, one line a cell and metric.

    Cells that are not ok have no value. Without metrics their status is all that is told.
    """
    place = [name for name in KEY if name in row]
    cells = runs[(runs[place] == pd.Series(row)[place]).all(axis=1)]
    cells = cells[cells["method"].isin(methods)]
    found = [
        cells[[*CELL, "status"]].assign(
            metric=metric,
            value=cells[metric].where(cells["status"] == "ok") if metric else math.nan,
        )
        for metric in metrics or [""]
    ]
    return pd.concat(found)


def metrics_of(column: str) -> list[str]:
    """The metrics that a column of a table of runs.csv is made of."""
    known = [metric for metric in METRICS if column.startswith(metric)]
    if column in ("lira_auc_low", "lira_auc_high"):
        return ["lira_auc", "lira_auc_error"]
    return [max(known, key=len)] if known else []


def scenario_values(runs: pd.DataFrame, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """Of a table of one scenario; AUS of means also takes the originals."""
    if not column.startswith("aus_of_means"):
        return run_values(runs, row, [row["method"]], metrics_of(column))
    removal = row["scenario"] == "class_removal"
    test, forget = ("retain_test", "forget_test") if removal else ("test", "forget_train")
    own = run_values(runs, row, [row["method"]], [f"{test}_accuracy", f"{forget}_accuracy"])
    compared = runs.loc[runs["method"] == row["method"], "compared_with"].replace("", "original")
    return pd.concat([own, run_values(runs, row, [*set(compared)], [f"{test}_accuracy"])])


def statistics_values(run: Run, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """Tests also take DUCK's cells, ranks and adjusted p values those of every method."""
    everyone = column in (*RANKED, "p_holm", "verdict")
    methods = set(run.runs["method"]) if everyone else {row["method"]}
    if column in PAIRED or column == "cells":
        methods |= {BASELINE}
    return run_values(run.runs, row, [*methods], [row["metric"]])


def study_values(run: Run, row: Mapping[str, Any], column: str, study: str) -> pd.DataFrame:
    """Of a table of studies.csv; differences also take what they are from."""
    cells = run.studies[run.studies["study"] == study]
    if "classes_removed" in row:
        cells = cells[cells["classes_removed"] == row["classes_removed"]]
    if column not in (*DIFFERENCE, "p_holm", "verdict"):
        return scenario_values(cells, row, column)
    other = RIVAL if study == "multiple_classes" else BASELINE
    methods = set(cells["method"]) if column in ("p_holm", "verdict") else {row["method"], other}
    return run_values(cells, row, [*methods], ["aus"])


def feature_values(run: Run, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """One value a class and training seed, of a test those of both sides."""
    rows = _placed(run.tidy("features"), row, [*KEY, "layer", "measure"])
    percentile = rows["percentile"].replace("", "nan").astype(float)
    if not math.isnan(row["percentile"]):
        rows = rows[percentile == row["percentile"]]
    sides = [tuple(side.split(", ")) for side in (row["quantity"], row["against"]) if side]
    wanted = [pair in sides for pair in zip(rows["part"], rows["model"], strict=True)]
    rows = rows[wanted].rename(columns={"model": "method"})
    return rows.assign(metric=rows["part"] + " " + rows["measure"])


def attribution_values(run: Run, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """One value an image and pair of models; `method` is the pair's first model."""
    rows = _placed(run.tidy("attributions"), row, [*KEY, "output"])
    difference = row["pair"] == PAIR_DIFFERENCE
    pairs = [DUCK_PAIR, ORIGINAL_PAIR] if difference else [row["pair"]]
    rows = rows[rows["pair"].isin(pairs)]
    return rows.assign(
        method=rows["pair"].str.partition("~")[0],
        metric="correlation of " + rows["pair"],
        value=rows[VALUES["attributions"]],
    )


def shortcut_values(run: Run, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """One value a training seed."""
    known = [name for name in KEY if name in row]
    rows = _placed(run.tidy("shortcut"), row, [*known, "source", "label", "method"])
    measure, _, part = column.rpartition("_")
    rows = rows[rows["measure"] == measure] if part in PARTS else rows
    return rows.assign(metric=rows["measure"], scenario="shortcut_removal", split="poisoned")


def ensemble_values(run: Run, row: Mapping[str, Any], column: str) -> pd.DataFrame:
    """One value a forget set, of the models of every training seed of it."""
    rows = _placed(run.ensembles, row, [*KEY, "method"])
    metric, _, part = column.rpartition("_")
    metric = metric if part in PARTS else column
    return rows[[*KEY, "split", "method"]].assign(metric=metric, value=rows[metric])


def traced_values(
    cells: pd.DataFrame, trace: str, values: Callable[[pd.DataFrame], pd.Series], metric: str
) -> pd.DataFrame:
    """Of the space-separated `experiment/scenario/method` of an audit or a claim."""
    keys = [tuple(part.split("/")) for part in trace.split()]
    named = zip(cells["experiment"], cells["scenario"], cells["method"], strict=True)
    rows = cells[[key in keys for key in named]]
    found = rows[[*CELL, "status"]].assign(metric=metric, value=values(rows))
    return found.assign(value=found["value"].where(rows["status"] == "ok"))


def _placed(rows: pd.DataFrame, row: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    names = list(names)
    return rows[(rows[names].astype(str) == pd.Series(row)[names].astype(str)).all(axis=1)]
