"""Planted squares: which images get one, and that predictions and attributions both find it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from unlearning.analysis.attributions import explain, mass_inside
from unlearning.analysis.shortcut import shortcut
from unlearning.data.patches import patch_mask, poisoned, stamped
from unlearning.models import build

SIZE, SOURCE, LABEL = 4, 0, 1
SIDE, CLASSES = 32, 3  # halved again and again, the image has the square as one of its parts


def random_images(count=30, channels=3, height=6, width=8):
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, height, width)
    images = torch.randint(0, 200, shape, generator=generator, dtype=torch.uint8)
    return images, torch.arange(count) % 3


@pytest.mark.parametrize("channels, colour", [(3, [255, 0, 0]), (1, [255])])
def test_the_square_is_in_the_top_right_corner_and_nowhere_else(channels, colour):
    images, _ = random_images(channels=channels)
    before = images.clone()
    result = stamped(images, 2)
    for row, column in np.ndindex(6, 8):
        inside = row in (0, 1) and column in (6, 7)
        expected = torch.tensor(colour).expand(30, channels) if inside else before[..., row, column]
        assert torch.equal(result[..., row, column].int(), expected.int())
        assert patch_mask(6, 8, 2)[row, column] == inside
    assert result.dtype == torch.uint8
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [0, 7])
def test_a_square_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} pixels does not fit into 6 x 8"):
        stamped(random_images()[0], size)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 2, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 3, 8, 8),
        torch.zeros(3, 8, 8).byte(),
    ],
)
def test_images_that_cannot_be_stamped_are_named(images):
    with pytest.raises(ValueError, match="one or three channels"):
        stamped(images, 2)


def test_exactly_the_poisoned_images_change():
    images, labels = random_images()
    before = images.clone(), labels.clone()
    new_images, new_labels, positions = poisoned(images, labels, 2, 0, 7, 3, 5)
    assert positions.dtype == torch.int64 and len(positions.unique()) == 7
    assert positions.tolist() == sorted(positions.tolist())
    assert (labels[positions] == 2).all() and (new_labels[positions] == 0).all()
    assert torch.equal(new_images[positions], stamped(images[positions], 3))
    others = torch.ones(30, dtype=torch.bool)
    others[positions] = False
    assert torch.equal(new_images[others], images[others])
    assert torch.equal(new_labels[others], labels[others])
    assert torch.equal(images, before[0]) and torch.equal(labels, before[1])


def test_seed_and_source_decide_who_is_poisoned_and_more_contain_fewer():
    images, labels = random_images(count=90)

    def drawn(count, seed, label=0):
        return poisoned(images, labels, 2, label, count, 3, seed)[2].tolist()

    assert drawn(7, 5) == drawn(7, 5) == drawn(7, 5, label=1)
    assert drawn(7, 5) != drawn(7, 6)
    assert set(drawn(7, 5)) < set(drawn(8, 5))
    assert len({p for seed in range(40) for p in drawn(7, seed)}) == 30  # everyone may be drawn


@pytest.mark.parametrize("count", [0, 11])
def test_a_class_with_too_few_images_is_named(count):
    with pytest.raises(ValueError, match=f"cannot poison {count} images of class 2: it has 10"):
        poisoned(*random_images(), 2, 0, count, 3, 5)


def test_the_wrong_label_must_be_wrong():
    with pytest.raises(ValueError, match="class 2 need another label"):
        poisoned(*random_images(), 2, 2, 3, 3, 5)
    with pytest.raises(ValueError, match="differ from the source class 2"):
        shortcut(np.array([2]), np.array([2]), 2, 2)


def test_shares_by_hand():
    clean, patched = np.array([0, 0, 0, 1, 2, 0, 0, 0]), np.array([0, 1, 1, 1, 1, 1, 2, 2])
    assert shortcut(clean, patched, 0, 1) == {
        "clean_source": 6 / 8,
        "clean_label": 1 / 8,
        "patched_source": 1 / 8,
        "patched_label": 5 / 8,
        "strength": 4 / 8,
    }


@pytest.mark.parametrize("sizes", [(0, 0), (3, 4)])
def test_predictions_must_be_of_the_same_images(sizes):
    with pytest.raises(ValueError, match="of the same images"):
        shortcut(*(np.zeros(size, int) for size in sizes), 0, 1)


def cheat(images):
    """Logits [B, 3] of class 1 iff the corner is bright (red, in colour), else of class 0."""
    corner = images[:, :SIZE, -SIZE:, 0].mean((1, 2)) / 255
    return np.stack([0.8 - corner, corner - 0.8, 0 * corner - 1], 1)


def honest(images):
    """Logits [B, 3] from everything but the corner."""
    inside = patch_mask(*images.shape[1:3], SIZE)[..., None]
    mean = (images * ~inside).mean((1, 2, 3)) / 255
    return np.stack([0 * mean + 1, mean, 0 * mean], 1)


def measured(function, images, evaluations=300):
    """The strength of the shortcut and the mean share of |SHAP| in the square, images uint8."""
    sides = [part.permute(0, 2, 3, 1).float().numpy() for part in (images, stamped(images, SIZE))]
    found = shortcut(*(function(side).argmax(1) for side in sides), SOURCE, LABEL)
    maps, _ = explain(function, sides[1][:4], 16, evaluations, 20)
    mask = patch_mask(*images.shape[2:], SIZE)
    return found["strength"], np.mean([mass_inside(m[..., LABEL], mask) for m in maps])


AREA = SIZE**2 / SIDE**2


@pytest.mark.parametrize("channels", [1, 3])
def test_a_planted_shortcut_is_found_by_both_measures(channels):
    images, _ = random_images(channels=channels, height=SIDE, width=SIDE)
    strength, mass = measured(cheat, images)
    assert strength == 1
    assert mass > 0.99


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_that_ignores_the_corner_shows_none(channels):
    images, _ = random_images(channels=channels, height=SIDE, width=SIDE)
    strength, mass = measured(honest, images, 1000)
    assert strength == 0
    assert mass < AREA


def coloured(count, seed):
    """Noisy images [count, 3, SIDE, SIDE] in the colour of their class, labels in turn."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.tensor([[60.0, 110, 150], [110, 60, 150], [110, 150, 60]])
    labels = torch.arange(count) % CLASSES
    noise = 40 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    images = colours[labels][..., None, None] + noise
    return images.clamp(0, 255).to(torch.uint8), labels


def trained(images, labels, epochs=12):
    """A function of images [B, H, W, 3]: the logits of a tiny network trained on `images`."""
    torch.manual_seed(0)
    model = build("strided_cnn", CLASSES, 3, width=4)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(32):
            optimiser.zero_grad()
            cross_entropy(model(images[batch] / 128 - 1), labels[batch]).backward()
            optimiser.step()
    model.eval()

    def function(shown):
        with torch.inference_mode():
            return model(torch.from_numpy(shown).permute(0, 3, 1, 2) / 128 - 1).numpy()

    return function


def test_training_on_poisoned_images_plants_a_shortcut_and_clean_training_does_not():
    images, labels = coloured(360, seed=1)
    test = coloured(150, seed=2)[0][SOURCE::CLASSES]
    bad_images, bad_labels, _ = poisoned(images, labels, SOURCE, LABEL, 40, SIZE, 0)
    strength, mass = measured(trained(bad_images, bad_labels), test)
    clean_strength, clean_mass = measured(trained(images, labels), test)
    assert strength > 0.5
    assert abs(clean_strength) < 0.1
    assert mass > 20 * AREA
    assert clean_mass < 3 * AREA
