"""SHAP maps against Owen values by hand and a plain recursion; how maps are compared."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch

from unlearning.analysis.attributions import blurred, explain, map_correlation, mass_inside
from unlearning.models import build

ALL = 10_000
"""Evaluations that split a small image down to its last channel."""


def random_images(count, height, width, channels, seed=0):
    draw = np.random.default_rng(seed)
    return draw.uniform(0, 255, (count, height, width, channels)).astype(np.float32)


def linear(shape, outputs=2, seed=1):
    """A function of weighted sums of pixels, and its weights [H, W, C, K]."""
    weights = np.random.default_rng(seed).normal(size=(*shape, outputs))
    return lambda images: np.tensordot(images.astype(np.float64), weights, 3), weights


def bent(shape, outputs=2, seed=1):
    """A function in which regions interact."""
    sums, _ = linear(shape, 4, seed)
    mixed = np.random.default_rng(seed + 1).normal(size=(4, outputs))
    return lambda images: np.tanh(sums(images) / 300) @ mixed


def network(channels, size):
    torch.manual_seed(0)
    model = build("strided_cnn", 4, channels, width=2).eval()
    model.head.weight.data *= 150

    def function(images):
        with torch.inference_mode():
            return model(torch.from_numpy(images / 255).permute(0, 3, 1, 2)).numpy()

    return function, random_images(3, size, size, channels)


def halves(region):
    """The parts of (rows, columns, channels), each a range; the longer side first, channels last.

    `shap` counts the pixels from the end, so of an odd side the first part is the longer.
    """
    longest = 0 if len(region[0]) >= len(region[1]) else 1
    side = longest if len(region[longest]) > 1 else 2
    middle = (len(region[side]) + 1) // 2
    for part in (region[side][:middle], region[side][middle:]):
        yield (*region[:side], part, *region[side + 1 :])


def owen(function, image, hidden):
    """Owen values [H, W, C, K] by the definition: each context of each region, one at a time."""
    values = np.zeros((*image.shape, function(image[None]).shape[1]))

    def output(shown):
        return function(np.where(shown, image, hidden)[None])[0]

    def descend(context, region, weight):
        whole = context.copy()
        whole[np.ix_(*region)] = True
        if all(len(side) == 1 for side in region):
            values[np.ix_(*region)] += weight * (output(whole) - output(context))
            return
        for part, other in (parts := list(halves(region)), parts[::-1]):
            beside = context.copy()
            beside[np.ix_(*other)] = True
            descend(context, part, weight / 2)
            descend(beside, part, weight / 2)

    descend(np.zeros(image.shape, bool), [range(side) for side in image.shape], 1.0)
    return values


@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 4, 2), (3, 2, 3)])
def test_values_are_the_owen_values_of_the_definition(shape):
    images, function = random_images(2, *shape), bent(shape)
    values, base = explain(function, images, 2, ALL, 8)
    hidden = blurred(images, 2)
    for image, blur, found in zip(images, hidden, values, strict=True):
        assert found == pytest.approx(owen(function, image, blur).sum(2), rel=1e-5, abs=1e-6)
    assert base == pytest.approx(function(hidden), rel=1e-9)
    assert values.dtype == np.float32 and base.dtype == np.float64


@pytest.mark.parametrize("channels", [1, 3])
def test_a_linear_function_gives_each_pixel_its_weighted_change(channels):
    shape = (6, 7, channels)
    images, (function, weights) = random_images(2, *shape), linear(shape)
    values, _ = explain(function, images, 3, ALL, 16)
    change = (images - blurred(images, 3)).astype(np.float64)
    expected = np.einsum("nhwc,hwck->nhwk", change, weights)
    assert values == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_few_evaluations_share_a_half_evenly():
    shape = (8, 6, 1)
    images, (function, weights) = random_images(1, *shape), linear(shape)
    values, _ = explain(function, images, 4, 4, 10)
    change = ((images - blurred(images, 4))[0][..., None] * weights).sum(2)
    for half in (slice(0, 4), slice(4, 8)):
        expected = np.broadcast_to(change[half].mean((0, 1)), (4, 6, 2))
        assert values[0, half] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_an_interaction_is_shared_by_the_two_halves():
    images = random_images(1, 4, 4, 1)
    hidden = blurred(images, 4)

    def product(shown):
        return (shown[:, :2].mean((1, 2, 3)) * shown[:, 2:].mean((1, 2, 3)))[:, None]

    values, base = explain(product, images, 4, ALL, 10)
    (a1, a0), (b1, b0) = (
        [side[:, rows].mean() for side in (images, hidden)] for rows in (slice(2), slice(2, 4))
    )
    expected = [(a1 - a0) * (b0 + b1) / 2, (b1 - b0) * (a0 + a1) / 2]
    assert values.reshape(2, -1).sum(1) == pytest.approx(expected, rel=1e-4)
    assert base[0, 0] == pytest.approx(a0 * b0, rel=1e-5)


@pytest.mark.parametrize("channels, size", [(1, 28), (3, 32)])
def test_base_and_map_sum_to_the_output(channels, size):
    function, images = network(channels, size)
    values, base = explain(function, images, 16, 100, 20)
    output = function(images)
    assert np.abs(output - base).mean() > 0.3  # else the base alone would do
    assert base + values.sum((1, 2)) == pytest.approx(output, rel=1e-3, abs=1e-4)


def test_the_same_image_gives_the_same_bytes_whatever_is_explained_before():
    function, images = network(1, 28)
    arguments = (16, 60, 10)
    together = explain(function, images, *arguments)
    np.random.seed(3)
    alone = [explain(function, image[None], *arguments) for image in images]
    for position, found in enumerate(zip(*alone, strict=True)):
        assert np.concatenate(found).tobytes() == together[position].tobytes()


def test_every_image_is_hidden_by_its_own_blur():
    shape = (6, 6, 1)
    images, (function, _) = random_images(100, *shape), linear(shape)
    _, base = explain(function, images, 4, 4, 2)
    assert base == pytest.approx(function(blurred(images, 4)), rel=1e-6, abs=1e-6)


def test_ties_are_broken_alike_and_the_callers_generator_is_left_alone():
    stars = np.zeros((1, 8, 8, 1))
    stars[:, ::4, ::4] = 255

    def count(shown):  # every quarter has one star: equal effects, and not enough evaluations
        return (shown > 200).sum((1, 2, 3))[:, None]

    found = set()
    for seed in range(3):
        np.random.seed(seed)
        found.add(explain(count, stars, 8, 30, 4)[0].tobytes())
        drawn = np.random.randn()
        np.random.seed(seed)
        assert drawn == np.random.randn()
    assert len(found) == 1


@pytest.mark.parametrize("evaluations, largest", [(4, 2), (37, 16), (200, 16)])
def test_the_function_is_evaluated_as_often_as_allowed(evaluations, largest):
    calls, function = [], bent((8, 8, 1))

    def counted(images):
        calls.append(len(images))
        return function(images)

    explain(counted, random_images(1, 8, 8, 1), 4, evaluations, 16)
    assert sum(calls) in (evaluations, evaluations + 1)
    assert max(calls) == largest


def test_nothing_is_printed_even_when_it_takes_long(capfd, monkeypatch):
    minutes = itertools.count(0, 60)
    monkeypatch.setattr(time, "time", lambda: next(minutes))
    function, images = network(1, 28)
    before = images.copy()
    explain(function, images, 16, 40, 20)
    assert (images == before).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_blurred_is_the_mean_of_a_mirrored_box(side):
    images = random_images(2, 6, 5, 3)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    box = np.arange(side) - side // 2 + 4
    for row, column in np.ndindex(6, 5):
        mean = padded[:, box + row][:, :, box + column].mean((1, 2))
        assert blurred(images, side)[:, row, column] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    "shape, changed, message",
    [
        ((8, 8, 1), {}, r"\[N, H, W, C\]"),
        ((0, 8, 8, 1), {}, "N > 0"),
        ((1, 8, 8, 1), {"evaluations": 3}, "at least 4"),
        ((1, 8, 8, 1), {"blur": 0}, "blur 0"),
        ((1, 8, 8, 1), {"batch_size": 0}, "batch_size 0"),
    ],
)
def test_wrong_arguments_are_named(shape, changed, message):
    given = {"blur": 4, "evaluations": 10, "batch_size": 5} | changed
    with pytest.raises(ValueError, match=message):
        explain(lambda images: images[:, 0, 0], np.zeros(shape), **given)


def test_outputs_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        explain(lambda images: np.full((len(images), 2), np.nan), np.ones((1, 4, 4, 1)), 2, 8, 4)


def test_correlation_is_pearsons():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert map_correlation(a, b) == pytest.approx(expected, rel=1e-6)
    assert map_correlation(a, 3 * a - 7) == pytest.approx(1, abs=1e-6)
    assert map_correlation(a, -a) == -1
    assert map_correlation(a + 1e3, b) == pytest.approx(expected, abs=1e-3)


def test_correlation_with_a_constant_map_is_not_defined():
    a = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    constant = np.full((5, 6), 0.1, dtype=np.float32)
    assert map_correlation(a, constant) is None
    assert map_correlation(constant, a) is None
    with pytest.raises(ValueError, match="equally large"):
        map_correlation(a, a.T)


def test_mass_inside_counts_both_signs():
    values = np.array([[1.0, -2.0], [4.0, -3.0]], dtype=np.float32)
    assert mass_inside(values, np.array([[True, True], [False, False]])) == pytest.approx(0.3)
    assert mass_inside(values, np.zeros((2, 2), bool)) == 0
    assert mass_inside(values, np.ones((2, 2), bool)) == 1
    assert mass_inside(0 * values, np.ones((2, 2), bool)) is None
    for wrong in (np.ones((2, 2)), np.ones((2, 1), bool)):
        with pytest.raises(ValueError, match="mask of booleans"):
            mass_inside(values, wrong)
