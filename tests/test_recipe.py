"""Recipes of training: schedules, resolutions, what is augmented how and what decays."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from unlearning.data.batches import augment, mirrored, resized
from unlearning.recipe import Recipe, lr_factor
from unlearning.training import loop
from unlearning.training.loop import parameter_groups, train

PLAIN = {"epochs": 3, "batch_size": 10, "lr": 0.05}


def test_the_triangle_rises_over_a_fifth_and_falls_to_a_fiftieth():
    assert lr_factor("triangle", 0.0) == 0.0
    assert lr_factor("triangle", 0.1) == pytest.approx(0.5)
    assert lr_factor("triangle", 0.2) == pytest.approx(1.0)
    assert lr_factor("triangle", 0.6) == pytest.approx(0.51)
    assert lr_factor("triangle", 1.0) == pytest.approx(0.02)


def test_the_resolution_of_each_epoch_follows_the_list():
    recipe = Recipe(**PLAIN, resolutions=[{"size": 20, "epochs": 1}, {"size": 28, "epochs": 2}])
    assert [recipe.size_in(epoch) for epoch in range(3)] == [20, 28, 28]
    assert Recipe(**PLAIN).size_in(0) is None
    with pytest.raises(ValidationError, match="resolutions cover 2 epochs, but epochs is 3"):
        Recipe(**PLAIN, resolutions=[{"size": 20, "epochs": 2}])


def test_the_training_sees_images_of_the_listed_sizes(make_images, make_cnn, monkeypatch):
    sizes, model, data = [], make_cnn(), make_images()
    real = loop.resized

    def spied(images, size):
        found = real(images, size)
        sizes.append(tuple(found.shape[2:]))
        return found

    monkeypatch.setattr(loop, "resized", spied)
    recipe = Recipe(**PLAIN, resolutions=[{"size": 24, "epochs": 1}, {"size": 28, "epochs": 2}])
    train(model, data, torch.arange(20), recipe, 1, log=lambda _: None)
    assert sizes == [(24, 24)] * 2 + [(28, 28)] * 4


def test_resizing_is_bilinear_antialiased_and_leaves_the_right_size_alone():
    images = torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert resized(images, 8) is images
    half = resized(images, 4)
    assert half.shape == (2, 3, 4, 4) and half.is_contiguous(memory_format=torch.channels_last)
    flat = torch.full((1, 1, 8, 8), 0.25)
    assert torch.allclose(resized(flat, 5), torch.full((1, 1, 5, 5), 0.25))
    assert torch.allclose(half.mean(), images.mean(), atol=0.03)


def test_reflected_padding_is_that_of_torch():
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(3)
    found = augment(images, False, 2, generator, "reflect")
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.randint(0, 5, (2, 6, 1), generator=generator)[[1, 0], :, 0]
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect")
    for i in range(6):
        r, c = int(rows[i]), int(columns[i])
        assert torch.equal(found[i].float(), padded[i, :, r : r + 8, c : c + 8])
    assert not torch.equal(found, augment(images, False, 2, torch.Generator().manual_seed(3)))


def test_positions_beyond_both_edges_are_folded_back():
    assert mirrored(torch.arange(-3, 7), 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


def test_only_matrices_decay_where_the_recipe_says_so(make_cnn):
    model = make_cnn()
    recipe = Recipe(**PLAIN, weight_decay=0.1, weight_decay_on="matrices")
    decaying, others = parameter_groups(model, recipe)
    assert decaying["weight_decay"] == 0.1 and others["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decaying["params"])
    assert all(p.ndim == 1 for p in others["params"])
    count = len(decaying["params"]) + len(others["params"])
    assert count == len(list(model.parameters()))
    (one,) = parameter_groups(model, Recipe(**PLAIN, weight_decay=0.1))
    assert one["weight_decay"] == 0.1 and len(one["params"]) == count
