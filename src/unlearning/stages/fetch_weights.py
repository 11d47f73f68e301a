"""fetch_weights: find or download pretrained weights, verify them and pack them into one file."""

from __future__ import annotations

import json
import logging
import os

from unlearning.data.catalogue import WeightsInfo
from unlearning.data.weights import fetch_weights
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write OUT/weights/NAME.safetensors and .json; say on stderr what was done.

    UNLEARNING_SOURCES is how the DAG passes `sources` of a config (see `fetch`).
    """
    file = {"help": "the file or its folder, else UNLEARNING_SOURCES"}
    options = asked(argv, __doc__, "out", info="the weights' catalogue row as JSON", file=file)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    info = WeightsInfo.from_json(options.info)
    sources = json.loads(os.environ.get("UNLEARNING_SOURCES", "{}"))
    fetch_weights(info, options.out, options.file or sources.get(info.name))
