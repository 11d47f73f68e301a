"""Import torchvision, repaired where it is built for another torch. Import it only here."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_definitions = None  # a torch.library.Library takes its operators away when it is collected


def torchvision() -> ModuleType:
    """The imported torchvision module; models, datasets, transforms.v2 and weights work.

    The usual build of torchvision is linked against CUDA. Beside a CPU-only torch its
    native library cannot be loaded, and the import then stops with `operator
    torchvision::nms does not exist`, because it attaches shape functions to box operators
    that only the native library would have defined. Defining the schemas of those
    operators beforehand lets the import finish. Only the native box operators stay
    unusable, and nothing here calls them.

    Where torchvision imports by itself it is returned as it is and nothing is defined.
    Any other failure of the import is raised unchanged.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    _define_missing_operators()
    _forget_failed_import()
    return importlib.import_module("torchvision")


def _define_missing_operators() -> None:
    global _definitions
    import torch

    # A fragment, because the namespace may have another owner, and DEF allows only one.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _definitions = library


def _forget_failed_import() -> None:
    # Python drops the failed package but keeps the submodules that had loaded.
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
