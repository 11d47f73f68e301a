"""resolve: write the checked config of a run; later stages read its grid from it."""

from __future__ import annotations

import json

from unlearning.files import write_json
from unlearning.runtime.options import asked


def main(argv: list[str]) -> None:
    """Write the config as JSON."""
    options = asked(argv, __doc__, "out", config="the whole config as JSON")
    write_json(options.out, json.loads(options.config))
