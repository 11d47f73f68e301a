"""describe: print the lines of a config that describe a folder of one's own images."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from unlearning.data.catalogue import DatasetInfo, OwnImages
from unlearning.data.download import expanded
from unlearning.data.folders import PARTS
from unlearning.data.own_images import COLOUR, Found, checksum, find, opened, pack, paths_of
from unlearning.data.sources import measure
from unlearning.runtime.options import verb_parser

USUAL_SIZE = 32
"""Pixels a side, where the images are of several sizes or not square."""


def main(argv: list[str]) -> None:
    """Print them to stdout; nothing is written. The first unfit image is named on stderr."""
    parser = verb_parser(__doc__)
    parser.add_argument("folder", help="holds a folder a class, or such a train/ and test/")
    parser.add_argument("--name", help="of the data set; without it the folder's")
    parser.add_argument("--size", type=int, help="pixels a side that all images get")
    parser.add_argument("--resize", choices=("crop", "stretch"), default="crop")
    parser.add_argument("--channels", type=int, choices=(1, 3), help="1: grey, 3: colour")
    parser.add_argument("--test-share", type=float, default=0.2, help="without train/ and test/")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of that share")
    options = parser.parse_args(argv)
    if not 0 < options.test_share < 1:
        parser.error(f"--test-share must lie between 0 and 1, not {options.test_share}")
    folder = expanded(options.folder)
    whole = any((folder / part).is_dir() for part in PARTS)
    share = None if whole else options.test_share
    found = find(folder, OwnImages(options.resize, "", share, 0 if whole else options.seed))
    sizes, modes = looked_at(found)
    size = options.size or (sizes[0][0] if len({*sizes[0], *sizes[-1]}) == 1 else USUAL_SIZE)
    channels = options.channels or (3 if set(modes) & set(COLOUR) else 1)
    own = OwnImages(options.resize, checksum(folder, found), share, 0 if whole else options.seed)
    name = (
        options.name
        or re.sub("[^a-z0-9_]+", "_", folder.resolve().name.lower()).strip("_")
        or "images"
    )
    classes = sorted(found["train"])
    counts = [sum(map(len, found[part].values())) for part in PARTS]
    shape = (len(classes), *counts, channels, size)
    info = DatasetInfo(name, "", "", "own", *shape, None, None, (), own=own)
    print(comment(classes, sizes, modes))
    print("\n".join(lines(info, found, options.folder)))


def looked_at(found: Found) -> tuple[list[tuple[int, int]], list[str]]:
    """Width and height of every image, sorted, and their modes."""
    sizes, modes = [], []
    for path in paths_of(found):
        with opened(path) as image:
            sizes.append(image.size)
            modes.append(image.mode)
    return sorted(sizes), modes


def comment(classes: Sequence[str], sizes: Sequence[tuple[int, int]], modes: Sequence[str]) -> str:
    """What the folder holds, as a comment: class numbers, smallest and largest size, colours."""
    named = ", ".join(f"{number} {name}" for number, name in enumerate(classes))
    ends = " to ".join(dict.fromkeys(f"{w} x {h}" for w, h in (sizes[0], sizes[-1])))
    colour = sum(mode in COLOUR for mode in modes)
    return f"# classes: {named}\n# {ends} pixels, {colour} in colour, {len(modes) - colour} grey"


def lines(info: DatasetInfo, found: Found, folder: str | Path) -> list[str]:
    """The lines of the config."""
    mean, std = measure(pack(info, found).tensors["train_images"])
    values = {key: getattr(info, key) for key in ("classes", "train", "test", "channels", "size")}
    values |= {"resize": info.own.resize}
    values |= {key: _listed(value) for key, value in (("mean", mean), ("std", std))}
    values |= {"checksum": info.own.checksum}
    if info.own.test_share is not None:
        values |= {"test_share": info.own.test_share, "seed": info.own.seed}
    described = [f"    {key}: {value}" for key, value in values.items()]
    return [
        "datasets:",
        f"  {info.name}:",
        *described,
        "sources:",
        f"  {info.name}: {json.dumps(str(folder))}",
    ]


def _listed(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:.4f}' for value in values)}]"
