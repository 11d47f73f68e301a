"""fetch: find or download a data set, verify it and pack it into one file."""

from __future__ import annotations

import argparse
import json
import logging
import os

from unlearning.data.catalogue import DatasetInfo
from unlearning.data.sources import fetch


def main(argv: list[str]) -> None:
    """Write OUT/NAME.safetensors and OUT/NAME.json; say on stderr what was done.

    UNLEARNING_SOURCES, folders by data set as JSON, is how the DAG passes `sources` of a
    config: as no option of a rule, it can change without making everything anew.
    """
    parser = argparse.ArgumentParser(prog="unlearning fetch", description=__doc__)
    parser.add_argument("--info", required=True, help="the data set's catalogue rows as JSON")
    parser.add_argument("--out", required=True, help="folder of the packed data sets")
    parser.add_argument("--folder", help="folder that holds the data set, else UNLEARNING_SOURCES")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    info = DatasetInfo.from_json(options.info)
    sources = json.loads(os.environ.get("UNLEARNING_SOURCES", "{}"))
    fetch(info, options.out, options.folder or sources.get(info.name))
