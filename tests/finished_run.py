"""A small finished run with claims, audit, tables and figures, and its page."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
from test_rulegraph import DOT
from test_tables import synthetic_runs

from unlearning.audit.rows import COLUMNS as AUDIT
from unlearning.claims.verdicts import COLUMNS as CLAIMS
from unlearning.files import write_json
from unlearning.report.drawings import LIMIT
from unlearning.report.page import report
from unlearning.results.manifest import COLUMNS as MANIFEST
from unlearning.tables.layouts import tabulate

TEMPLATE = Path(__file__).parents[1] / "workflow" / "report" / "report.html"
SCRIPT = "<script>"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><rect width="9"/></svg>'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def manifest_of(runs: pd.DataFrame) -> pd.DataFrame:
    """A record for each cell but those of `boundary_shrink`, which did not run."""
    found = runs.reindex(columns=MANIFEST).astype(str)
    number = pd.Series(range(len(runs)), index=runs.index)
    made = {
        "record": number.map("mini/cell-{}/record.json".format),
        "record_sha256": number.map("{:064x}".format),
        "data_sha256": "d" * 64,
        "split_sha256": "5" * 64,
        "start_sha256": "a" * 64,
        "settings_sha256": "e" * 64,
        "code_sha256": "c" * 64,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": "False",
        "device": "cpu",
        "machine": "x86_64",
        "software": '{"numpy":"2.4.6","python":"3.11.7"}',
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": runs["unlearning_seconds"].astype(str),
        "command": "python -m unlearning unlearn --settings '{\"lr\": 0.1}'",
    }
    found = found.assign(**made)
    lost = found["method"] == "boundary_shrink"
    found.loc[lost, list(made)] = ""
    found.loc[lost, "status"] = "missing"
    return found


def claims_and_audit(where: Path) -> None:
    """Three claims, two of them of efficacy, and ten audited numbers, with every verdict."""
    place = {"experiment": "mini", "dataset": "fashion_mnist_mini", "arch": "strided_cnn"}
    duck, oracle = "mini/class_removal/duck", "mini/class_removal/oracle"
    common = {**place, "scenario": "class_removal", "low": -0.02, "high": 0.033333, "n": 6}
    bound = {"asks": "efficacy", "bound": "< 0.05", "unit": "fraction", "trace": duck}
    claims = [
        {
            "claim": "forgets",
            "statement": "DUCK <i>forgets</i>",
            "verdict": "holds",
            "value": 0.01,
            "p": 1e-7,
            **bound,
        },
        {
            "claim": "near",
            "statement": "DUCK is near",
            "verdict": "does not hold",
            "value": 0.2,
            **bound,
        }
        | {"trace": f"{duck} {oracle}"},
        {"claim": "fast", "statement": "DUCK is fast", "verdict": "not tested", "asks": "time"}
        | {"reason": "no studies.csv"},
    ]
    claims = pd.DataFrame([common | claim for claim in claims])
    claims.reindex(columns=CLAIMS).to_csv(where / "claims.csv", index=False)
    verdicts = ("reproduced", "differs", "ours not run", "not comparable")
    audit = [
        {
            "row": n + 2,
            "source": "paper",
            "verdict": verdicts[n % 4],
            "grade": "AB"[n % 2],
            "metric": "AUS",
            "quantity": "AUS" if n else "A_or − A_r^t",
            "reported_quantity": 5.98,
            "our_quantity": 6.0,
            "reason": f"reason_{n % 4}",
            "reported": 70 + n,
            "ours": 71.23456 + n if n % 4 != 2 else None,
            "trace": duck if n % 4 != 2 else "",
            "command": "snakemake audit" if n % 4 == 2 else "",
        }
        for n in range(10)
    ]
    pd.DataFrame(audit).reindex(columns=AUDIT).to_csv(where / "audit.csv", index=False)


def finished_run(folder: Path) -> Path:
    """Fill a run's folder with what was made of it; SCRUB is called `<script>` there."""
    runs = synthetic_runs().replace({"method": {"scrub": SCRIPT}})
    runs.loc[runs["method"] == "boundary_shrink", "status"] = "missing"
    runs.to_csv(folder / "runs.csv", index=False)
    manifest_of(runs).to_csv(folder / "manifest.csv", index=False)
    write_json(folder / "config.json", {"run": "tried", "experiments": [{"study": None}]})
    claims_and_audit(folder)
    tabulate(folder / "runs.csv", folder / "tables")
    figures = folder / "figures"
    figures.mkdir()
    (figures / "ranks.svg").write_text(SVG)
    (figures / "ranks.csv").write_text("method,rank\nduck,1.5\n")
    (figures / "aus_vs_time.svg").write_text(SVG + " " * LIMIT)
    (figures / "aus_vs_time.png").write_bytes(PNG)
    (figures / "odd_one.svg").write_text(SVG)
    (folder / "rules.dot").write_text(DOT)
    return folder


def page(run: Path) -> str:
    return report(TEMPLATE, run, run, run / "rules.dot")


def edit(path: Path, **columns: object) -> None:
    """Set columns of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.assign(**columns).to_csv(path, index=False)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the cells of tables by sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.found.append((tag, attributes))
        if "sheet" in (attributes.get("class") or "").split():
            self._rows = self.tables[attributes["id"]] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = True
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._cell:
            self._rows[-1][-1] += data
