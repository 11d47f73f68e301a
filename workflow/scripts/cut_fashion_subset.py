"""Cut the packaged subset: 300 training and 100 test images a class of Fashion-MNIST.

    python workflow/scripts/cut_fashion_subset.py --source FOLDER --out FOLDER

FOLDER holds the four official .gz files; they are verified against configs/datasets.csv
before anything is read. The same source gives the same bytes again.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
from pathlib import Path

import numpy as np

from unlearning.data.catalogue import DataError, catalogue
from unlearning.data.download import verify
from unlearning.data.readers import IDX_FILES
from unlearning.files import whole
from unlearning.seeds import seed_for

PER_CLASS = {"train": 300, "test": 100}
ROOT = Path(__file__).resolve().parents[2]
HEADER_BYTES = {"images": 16, "labels": 8}


def choose(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Indices of `per_class` examples of every class, in a shuffled order.

    Raw PCG64 output is sorted instead of calling a generator's shuffle: NumPy promises
    to keep the former the same in every version, and the latter not.
    """
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    shuffled = labels[order]
    kept = np.concatenate([np.flatnonzero(shuffled == c)[:per_class] for c in np.unique(labels)])
    return order[np.sort(kept)]


def read_idx(path: Path, kind: str) -> tuple[bytes, np.ndarray]:
    """The header and the rows of a gzipped IDX file, uint8 [N, bytes of one example]."""
    content = gzip.decompress(path.read_bytes())
    header, body = content[: HEADER_BYTES[kind]], content[HEADER_BYTES[kind] :]
    count = int.from_bytes(header[4:8], "big")
    return header, np.frombuffer(body, dtype=np.uint8).reshape(count, -1)


def write_idx(path: Path, header: bytes, rows: np.ndarray) -> None:
    """Write a gzipped IDX file whose bytes depend on its content only."""
    header = header[:4] + len(rows).to_bytes(4, "big") + header[8:]
    packed = io.BytesIO()
    # Not gzip.compress: the header it writes differs between Python versions.
    with gzip.GzipFile("", "wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        stream.write(header + rows.tobytes())
    with whole(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def cut(source: Path, out: Path, table: Path) -> None:
    """Write the four files of the subset to `out`. Raises DataError for a wrong source."""
    for file in catalogue(table)["fashion_mnist"].files:
        if not (source / file.file).is_file():
            raise DataError(f"{source} has no {file.file}; it can be had from {file.url}")
        verify(source / file.file, file)
    for part, per_class in PER_CLASS.items():
        _, labels = read_idx(source / IDX_FILES[f"{part}_labels"], "labels")
        chosen = choose(labels[:, 0], per_class, seed_for("fashion_mnist_mini", part))
        for kind in ("images", "labels"):
            name = IDX_FILES[f"{part}_{kind}"]
            header, rows = read_idx(source / name, kind)
            write_idx(out / name, header, rows[chosen])


def main() -> None:
    """Read the command line and cut."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of the official files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the subset")
    arguments = parser.parse_args()
    try:
        cut(arguments.source, arguments.out, ROOT / "configs" / "datasets.csv")
    except DataError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
