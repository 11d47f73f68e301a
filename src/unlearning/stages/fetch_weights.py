"""fetch_weights: find or download pretrained weights, verify them and pack them into one file."""

from __future__ import annotations

import argparse
import json
import logging
import os

from unlearning.data.catalogue import WeightsInfo
from unlearning.data.weights import fetch_weights


def main(argv: list[str]) -> None:
    """Write OUT/weights/NAME.safetensors and .json; say on stderr what was done.

    UNLEARNING_SOURCES is how the DAG passes `sources` of a config (see `fetch`).
    """
    parser = argparse.ArgumentParser(prog="unlearning fetch_weights", description=__doc__)
    parser.add_argument("--info", required=True, help="the weights' catalogue row as JSON")
    parser.add_argument("--out", required=True, help="folder of the packed data sets")
    parser.add_argument("--file", help="the file or its folder, else UNLEARNING_SOURCES")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    info = WeightsInfo.from_json(options.info)
    sources = json.loads(os.environ.get("UNLEARNING_SOURCES", "{}"))
    fetch_weights(info, options.out, options.file or sources.get(info.name))
