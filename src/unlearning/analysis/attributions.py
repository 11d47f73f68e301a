"""Which pixels a prediction rests on: SHAP values of image regions, and how two maps compare.

Partition SHAP (Lundberg and Lee 2017, arXiv 1705.07874; the `shap` package) halves the image
along its longer side again and again and gives each half its Owen value (Owen 1977), the
Shapley value within such a hierarchy. What is hidden is replaced by its blurred self; DUCK's
release does so with a box of 16 x 16 pixels and 20,000 evaluations.

    value of the left half = ((f(l) - f(none)) + (f(l, r) - f(r))) / 2
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from unlearning.metrics import Unmeasurable

FEWEST = 4
"""Evaluations for one split: all blurred, nothing blurred, and each half alone."""


def explain(
    function: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    blur: int,
    evaluations: int,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """SHAP values float32 [N, H, W, K] and base values float64 [N, K] of K outputs.

    function: images float32 [B, H, W, C] to outputs [B, K], such as logits; images: [N, H, W, C],
    usually in 0..255; blur: side of the box in pixels; evaluations: of `function` for each image,
    exceeded by one at most. The largest effects are split first; what is never split shares its
    value evenly among its pixels. batch_size: images a call; as a batch is chosen before any
    of it is evaluated, it also decides what is split.

    Values are summed over channels and are in the units of the output. Base values are the
    outputs for the wholly blurred image: base + sum of the map = output. An image's values
    depend on nothing but the image and the arguments. Memory: H W C bytes an evaluation.
    Raises ValueError for a wrong shape, too few evaluations, or outputs that are not finite.
    """
    _check(images, blur, evaluations, batch_size)
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # it compiles seven seconds to save one
    import shap  # it brings matplotlib and numba: two seconds

    shown = np.asarray(images, dtype=np.float32)
    masker = shap.maskers.Image(np.zeros(shown.shape[1:]), shown.shape[1:])
    masker.fixed_background = False  # each image has a base value of its own
    explainer = shap.PartitionExplainer(function, masker)
    values, base = [], []
    for image, hidden in zip(shown, blurred(shown, blur), strict=True):
        # Not shap's own "blur(b,b)": it knows a blurred image by the id of an array that may be
        # gone, and then hides an image behind another one's blur.
        masker.mask_value = hidden.ravel()
        with _fixed_ties():
            found = explainer(
                image[None], max_evals=evaluations, batch_size=batch_size, silent=True
            )
        values.append(found.values[0].sum(2))
        base.append(found.base_values[0])
    maps, bases = np.asarray(values, dtype=np.float32), np.asarray(base, dtype=np.float64)
    if not (np.isfinite(maps).all() and np.isfinite(bases).all()):
        raise Unmeasurable("the explained function gave outputs that are not finite")
    return maps, bases


def blurred(images: np.ndarray, side: int) -> np.ndarray:
    """Box means float32 over `side` x `side` pixels of images [N, H, W, C], channel by channel.

    As `shap` does by OpenCV's `blur`: the image is mirrored at its edges without repeating them,
    and an even box reaches one pixel further up and left than down and right.
    """
    from scipy.ndimage import uniform_filter

    wide = np.asarray(images, dtype=np.float64)
    return uniform_filter(wide, (1, side, side, 1), mode="mirror").astype(np.float32)


def map_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's r in [-1, 1] of two attribution maps [H, W]; None where one is constant.

    Raises ValueError for different shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"maps to correlate must be equally large, not {a.shape} and {b.shape}")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = (side.astype(np.float64) - side.mean(dtype=np.float64) for side in (a, b))
    a, b = (side / np.linalg.norm(side) for side in (a, b))
    return float(np.clip(np.vdot(a, b), -1, 1))


def mass_inside(values: np.ndarray, mask: np.ndarray) -> float | None:
    """Share in [0, 1] of the absolute attribution [H, W] where `mask` (bool [H, W]) is true.

    None if no pixel has any. Attribution without a preference gives the share of the area.
    Raises ValueError for a mask of another shape or type.
    """
    if values.shape != mask.shape or mask.dtype != bool:
        raise ValueError(
            f"a map {values.shape} needs a mask of booleans of the same shape, "
            f"not {mask.dtype} {mask.shape}"
        )
    mass = np.abs(values.astype(np.float64))
    return float(mass[mask].sum() / mass.sum()) if mass.any() else None


def _check(images: np.ndarray, blur: int, evaluations: int, batch_size: int) -> None:
    if np.ndim(images) != 4 or not len(images):
        raise Unmeasurable(f"images to explain must be [N, H, W, C], N > 0, not {np.shape(images)}")
    if blur < 1 or batch_size < 1:
        raise ValueError(f"blur {blur} and batch_size {batch_size} must be at least 1")
    if evaluations < FEWEST:
        raise ValueError(f"{evaluations} evaluations split nothing; at least {FEWEST} are needed")


@contextmanager
def _fixed_ties() -> Iterator[None]:
    """Lend `shap`, which breaks ties by NumPy's global generator, one that always starts alike."""
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)
