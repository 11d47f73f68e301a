"""fetch: find or download a data set, verify it and pack it into one file."""

from __future__ import annotations

import json
import logging
import os

from unlearning.data.catalogue import DatasetInfo
from unlearning.data.sources import fetch
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write OUT/NAME.safetensors and OUT/NAME.json; say on stderr what was done.

    UNLEARNING_SOURCES, folders by data set as JSON, is how the DAG passes `sources` of a
    config: as no option of a rule, it can change without making everything anew.
    """
    folder = {"help": "folder that holds the data set, else UNLEARNING_SOURCES"}
    info = "the data set's catalogue rows as JSON"
    options = asked(argv, __doc__, "out", info=info, folder=folder)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    info = DatasetInfo.from_json(options.info)
    sources = json.loads(os.environ.get("UNLEARNING_SOURCES", "{}"))
    fetch(info, options.out, options.folder or sources.get(info.name))
