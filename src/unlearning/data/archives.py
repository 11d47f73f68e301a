"""Archives and gzipped files, read safely: scanned first, in memory or to a temporary file.

A checksum says that a file is the published one, not that it is harmless.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import pickle
import posixpath
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from unlearning.data.catalogue import DataError, FileInfo, FormatError
from unlearning.files import STORAGE

BOMB_RATIO, BOMB_FLOOR = 20, 64 * 2**20
"""An archive may unpack to this many times its size, or to the floor if that is more."""


class UnsafeArchive(DataError):
    """An archive holds something that no honest copy of the data set holds."""


DAMAGE = (
    OSError,
    EOFError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,  # what a damaged size asks for
    RuntimeError,
    SyntaxError,  # Pillow's word for a broken PNG
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What libraries raise on damaged content."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the readers raise on damaged content into a FormatError naming `path`."""
    try:
        yield
    except DataError:
        raise
    except DAMAGE as error:
        why = error if getattr(error, "filename", None) else repr(error)
        raise FormatError(f"{path}: cannot be read ({why})") from error


def _bound(file: FileInfo) -> int:
    return max(BOMB_FLOOR, BOMB_RATIO * file.bytes)


def scan(path: Path, file: FileInfo, members: Iterable[tuple[str, int, bool]]) -> None:
    """Look at every (name, unpacked size, is a plain file or folder) before any is read.

    Raises UnsafeArchive for an absolute path, `..`, a link or device, a name that occurs
    twice, or more than max(BOMB_FLOOR, BOMB_RATIO x archive) bytes in all.
    """
    seen, total, bound = set(), 0, _bound(file)
    for name, size, plain in members:
        parts = re.split(r"[/\\]", name)
        total += size
        for wrong, fault in (
            (not parts[0] or re.match(r"[A-Za-z]:", name), "has an absolute path"),
            (".." in parts, "leaves its folder"),
            (not plain, "is a link or a device"),
            (posixpath.normpath(name) in seen, "occurs twice"),
            (total > bound, f"brings the unpacked size to {total} bytes (at most {bound})"),
        ):
            if wrong:
                raise UnsafeArchive(f"{path}: member {name!r} {fault}. Do not use this archive.")
        seen.add(posixpath.normpath(name))


def tar_members(path: Path, file: FileInfo, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted members' content, after a scan of all; nothing is written to disk."""
    with tarfile.open(path, "r:gz") as archive:
        scan(path, file, ((m.name, m.size, m.isreg() or m.isdir()) for m in archive))
        # In the archive's order, because going back in a gzip stream starts it afresh.
        content = {}
        for member in archive.getmembers():
            if member.name in wanted and member.isreg():
                content[member.name] = archive.extractfile(member).read()
    missing = sorted(set(wanted) - set(content))
    if missing:
        raise FormatError(f"{path}: has no member {missing[0]!r}")
    return content


def scan_zip(path: Path, file: FileInfo, archive: zipfile.ZipFile) -> None:
    """`scan` of the open archive's members."""
    plain = (0, stat.S_IFREG, stat.S_IFDIR)
    scan(
        path,
        file,
        (
            (m.filename, m.file_size, stat.S_IFMT(m.external_attr >> 16) in plain)
            for m in archive.infolist()
        ),
    )


@contextlib.contextmanager
def gunzipped(path: Path, file: FileInfo) -> Iterator[Path]:
    """A temporary plain copy, since torchvision reads plain files only; or the plain file."""
    with open(path, "rb") as handle:
        gzipped = handle.read(2) == b"\x1f\x8b"
    if not gzipped:
        yield path
        return
    bound, size = _bound(file), 0
    with tempfile.TemporaryDirectory() as folder, gzip.open(path) as packed:
        plain = Path(folder) / path.stem
        try:
            with open(plain, "wb") as handle:
                while chunk := packed.read(2**20):
                    size += len(chunk)
                    if size > bound:
                        raise UnsafeArchive(f"{path}: unpacks to more than {bound} bytes")
                    handle.write(chunk)
        except OSError as error:
            if error.errno not in STORAGE:
                raise
            raise DataError(
                f"{folder}: {os.strerror(error.errno)}; set TMPDIR to a folder with room for "
                f"{path}, unpacked"
            ) from error
        yield plain
