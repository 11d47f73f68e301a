"""Surrogate images: the dead-leaves model, the fit to another shape, and errors that name it."""

from __future__ import annotations

import math

import pytest
import torch

from unlearning.data import surrogates
from unlearning.data.surrogates import dead_leaves, fit, radii, surrogate
from unlearning.files import save_tensors, sha256_file, write_json


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Two packed data sets, `colour` and `broken`, where the names `packed:...` are looked up."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (30, 3, 10, 10), generator=generator, dtype=torch.uint8)
    for name, part in (("colour", "train_images"), ("broken", "test_images")):
        path = tmp_path / f"{name}.safetensors"
        save_tensors(path, {part: images})
        write_json(path.with_suffix(".json"), {"sha256": sha256_file(path)})
    monkeypatch.setattr(surrogates, "FOLDER", tmp_path)
    return images


@pytest.mark.parametrize("name", ["dead_leaves", "noise", "packed:colour"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_shape_and_the_normalisation_asked_for(name, channels, packed, make_images):
    like = make_images(channels=channels, size=12)
    found = surrogate(name, 20, like, 5)
    assert found.images.shape == (20, channels, 12, 12) and found.images.dtype == torch.uint8
    assert not found.labels.any() and found.labels.dtype == torch.int64 and len(found) == 20
    assert found.mean is like.mean and found.std is like.std
    assert found.images.float().std() > 20
    again, other = surrogate(name, 20, like, 5), surrogate(name, 20, like, 6)
    assert torch.equal(found.images, again.images) and not torch.equal(found.images, other.images)


# --- dead leaves ---


def test_radii_follow_the_inverse_cube():
    found = radii(torch.linspace(0, 1, 200_001, dtype=torch.float64), 2.0, 16.0)
    assert found.min() == pytest.approx(2.0) and found.max() == pytest.approx(16.0)
    edges = torch.tensor([2.0, 3.0, 5.0, 9.0, 16.0], dtype=torch.float64)
    counted = torch.histogram(found, edges).hist / len(found)

    def shares(power):
        parts = edges ** (1 - power)
        return (parts[:-1] - parts[1:]) / (parts[0] - parts[-1])

    assert (counted - shares(3)).abs().max() < 1e-4
    assert (counted - shares(2)).abs().max() > 0.05


def paint(x, y, r, colours, height, width, top_first=True):
    """One image pixel by pixel, by distances: [C][H][W]."""
    order = range(len(r)) if top_first else reversed(range(len(r)))
    order = list(order)
    image = torch.zeros(len(colours), height, width, dtype=torch.uint8)
    for row in range(height):
        for column in range(width):
            over = (k for k in order if math.hypot(column + 0.5 - x[k], row + 0.5 - y[k]) < r[k])
            image[:, row, column] = colours[:, next(over, len(r))]
    return image


def test_leaves_equal_a_painting_pixel_by_pixel():
    count, height, width, leaves = 40, 9, 12, surrogates.LEAVES
    found = dead_leaves(count, (2, height, width), torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(2, count, leaves, generator=generator)
    r = radii(torch.rand(count, leaves, generator=generator), height / 16, height / 2)
    size = (count, 2, leaves + 1)
    colours = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    for i in (0, 33):  # the second lies in another chunk
        given = (places[0, i] * width).tolist(), (places[1, i] * height).tolist(), r[i].tolist()
        right, wrong = (paint(*given, colours[i], height, width, top) for top in (True, False))
        assert (found[i] == right).float().mean() > 0.995  # rounding on a disc's edge
        assert (found[i] == wrong).float().mean() < 0.9


def test_leaves_are_patches_of_every_shade():
    images = dead_leaves(200, (1, 28, 28), torch.Generator().manual_seed(0)).float()
    neighbours = images[..., 1:] == images[..., :-1]
    noise = torch.randint(0, 256, images.shape, generator=torch.Generator().manual_seed(0))
    assert (
        neighbours.float().mean()
        > 0.6
        > 0.01
        > (noise[..., 1:] == noise[..., :-1]).mean(dtype=torch.float)
    )
    assert abs(images.mean() - 127.5) < 4 and abs(images.std() - 73.9) < 3


# --- another packed data set ---


def test_packed_images_are_the_first_of_a_permutation(packed, make_images):
    found = surrogate("packed:colour", 7, make_images(channels=3, size=10), 5).images
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    assert torch.equal(found, packed[order[:7]])
    assert not torch.equal(found, packed[:7])


def test_colours_become_their_rounded_mean_and_grey_is_repeated(packed):
    grey = fit(packed, (1, 10, 10))
    assert torch.equal(grey[:, 0], (packed.double().sum(1) / 3).round().to(torch.uint8))
    assert torch.equal(fit(grey, (3, 10, 10)), torch.cat([grey] * 3, 1))
    with pytest.raises(ValueError, match="2 channels cannot become 3"):
        fit(packed[:, :2], (3, 10, 10))


def test_another_size_is_interpolated_and_rounded():
    images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4) * 10
    smooth = torch.nn.functional.interpolate(
        images.double(), size=[2, 2], mode="bilinear", antialias=True
    )
    found = fit(images, (1, 2, 2))
    assert torch.equal(found, smooth.round().to(torch.uint8))
    assert not torch.equal(found, smooth.floor().to(torch.uint8))
    assert not torch.equal(found, images[..., ::2, ::2])
    assert torch.equal(
        fit(torch.full((1, 1, 5, 5), 255, dtype=torch.uint8), (1, 9, 7)).unique(),
        torch.tensor([255], dtype=torch.uint8),
    )


# --- errors ---


@pytest.mark.parametrize(
    ("name", "count", "error", "message"),
    [
        ("leaves_masked", 5, ValueError, "unknown surrogate set 'leaves_masked'; known: dead_leav"),
        ("packed:absent", 5, FileNotFoundError, r"packed:absent needs .*absent\.safetensors"),
        ("packed:colour", 31, ValueError, r"colour\.safetensors has 30 training images, 31"),
        ("packed:broken", 5, ValueError, r"broken\.safetensors: no tensor train_images"),
        ("noise", 0, ValueError, "at least one image, not 0"),
    ],
)
def test_errors_say_what_is_wrong(name, count, error, message, packed, make_images):
    with pytest.raises(error, match=message):
        surrogate(name, count, make_images(), 0)
