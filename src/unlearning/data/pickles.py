"""Pickles of Python 2 that hold uint8 arrays, read without calling anything that they name."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

from unlearning.data.archives import UnsafeArchive
from unlearning.data.catalogue import FormatError


class _Array:
    """What stands in for a pickled array: NumPy's own restoring crashes on a damaged state."""

    value = None

    def __setstate__(self, state: tuple) -> None:
        import numpy as np

        _, size, kind, by_columns, raw = state
        if kind.code not in ("u1", "uint8") or by_columns:
            raise FormatError(f"expected rows of uint8, found {kind.code!r}")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        self.value = np.frombuffer(content, np.uint8).reshape(size)


class _Kind:
    """What stands in for a pickled NumPy type."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        """Byte order and the like, which one byte has none of."""


class _ArraysOnly(pickle.Unpickler):
    """Loads the uint8 arrays of Python 2 pickles, and no object of another kind.

    Nothing that a pickle names is ever called: arrays and their types are stand-ins of our own.
    """

    def __init__(self, content: bytes, where: str):
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Kind,
        }
        if (module, name) not in allowed:
            raise UnsafeArchive(
                f"{self.where} is a pickle that asks for {module}.{name}; only plain arrays "
                "are allowed. Nothing was run. Do not use this archive."
            )
        return allowed[module, name]


def unpickle(content: bytes, where: str) -> dict:
    """The dict of a pickle; UnsafeArchive if it asks for more than plain arrays.

    `where` names the pickle in messages.
    """
    # The unpickler's memo is as long as the largest number in it: 16 bytes each, up to 64 GiB.
    numbers = (arg for code, arg, _ in pickletools.genops(content) if code.name.endswith("PUT"))
    largest = max(numbers, default=0)
    if largest > len(content):
        raise UnsafeArchive(
            f"{where} is a pickle that numbers its object {largest}, of {len(content)} bytes. "
            "Do not use this archive."
        )
    value = _ArraysOnly(content, where).load()
    if not isinstance(value, dict):
        raise FormatError(f"{where} holds a {type(value).__name__}, not a dict")
    return value
