"""CKA against explicit Gram matrices and its invariances; the probe on blobs and on noise."""

from __future__ import annotations

import numpy as np
import pytest

from unlearning.metrics.representation import balanced_sample, linear_cka, linear_probe


def explicit_hsic(gram_x, gram_y):
    """The unbiased HSIC of Song et al. 2012 on whole Gram matrices."""
    n, ones = len(gram_x), np.ones(len(gram_x))
    k, m = gram_x * (1 - np.eye(n)), gram_y * (1 - np.eye(n))
    terms = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (terms - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def explicit_cka(x, y):
    k, m = x @ x.T, y @ y.T
    return explicit_hsic(k, m) / np.sqrt(explicit_hsic(k, k) * explicit_hsic(m, m))


@pytest.fixture
def related():
    draw = np.random.default_rng(0)
    x = draw.normal(1, 2, (30, 7))
    return x, np.tanh(x @ draw.normal(0, 0.3, (7, 4))) + draw.normal(0, 0.2, (30, 4))


@pytest.mark.parametrize("count", [4, 5, 30])
def test_cka_is_the_one_of_explicit_gram_matrices(related, count):
    x, y = (side[:count] for side in related)
    assert linear_cka(x, y) == pytest.approx(explicit_cka(x, y), rel=1e-9)


def test_cka_is_one_up_to_rotation_scale_and_shift(related):
    x, y = related
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    moved = 3 * x @ rotation + 50
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-14)
    assert linear_cka(x, moved) == pytest.approx(1, abs=1e-9)
    assert linear_cka(moved, y) == pytest.approx(linear_cka(x, y), abs=1e-9)
    assert linear_cka(y, x) == pytest.approx(linear_cka(x, y), rel=1e-12)
    assert 0.2 < linear_cka(x, y) < 0.95


def test_cka_sees_a_stretch(related):
    x, _ = related
    assert linear_cka(x, x * [10, 1, 1, 1, 1, 1, 1]) < 0.9


def test_cka_of_independent_embeddings_averages_zero_where_the_biased_one_does_not():
    draw = np.random.default_rng(2)
    values = [linear_cka(*draw.normal(size=(2, 40, 30))) for _ in range(100)]
    error = np.std(values) / 10
    assert abs(np.mean(values)) < 3 * error < 0.02
    assert min(values) < 0


def test_cka_is_float64_inside(related):
    x, y = (side.astype(np.float32) for side in related)
    wide = linear_cka(x.astype(np.float64), y.astype(np.float64))
    assert linear_cka(x, y) == pytest.approx(wide, rel=1e-12)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_cka_is_not_defined_for_embeddings_that_do_not_vary(related, side, value):
    sides = list(related)
    sides[side] = np.full((30, 3), value)
    assert linear_cka(*sides) is None


def test_cka_survives_small_and_far_embeddings(related):
    x, y = related
    assert linear_cka(1e-9 * x, y) == pytest.approx(linear_cka(x, y), rel=1e-9)
    assert linear_cka(x + 1e6, y) == pytest.approx(linear_cka(x, y), rel=1e-8)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 4)])
def test_cka_refuses_few_or_different_images(n, m):
    with pytest.raises(ValueError, match=f"more than 3 images, got {n} and {m}"):
        linear_cka(np.eye(5)[:n], np.eye(5)[:m])


# --- the probe ---


@pytest.fixture
def blobs():
    """Three classes around corners, far apart when `spread` is large."""

    def make(spread, count=150, seed=0):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, 3, count)
        return spread * np.eye(3, 6)[labels] + draw.normal(size=(count, 6)), labels

    return make


def test_the_probe_reads_separable_classes_off_unseen_images(blobs):
    train, test = blobs(30.0), blobs(30.0, seed=1)
    assert linear_probe(*train, *test) == 1.0
    shift = (test[1] + 1) % 3
    assert linear_probe(*train, test[0], shift) == 0.0


def test_the_probe_is_at_chance_on_noise(blobs):
    accuracy = linear_probe(*blobs(0.0, 600), *blobs(0.0, 1500, seed=1))
    assert abs(accuracy - 1 / 3) < 4 * np.sqrt(2 / 9 / 1500)


def test_the_probe_standardises_its_features(blobs):
    (train, labels), (test, wanted) = blobs(3.0), blobs(3.0, seed=1)
    scale, shift = np.array([1e4, 1, 1, 1e-4, 1, 1]), 50.0
    moved = linear_probe(train * scale + shift, labels, test * scale + shift, wanted)
    plain = linear_probe(train, labels, test, wanted)
    assert moved == plain
    assert 0.8 < plain < 1


def test_a_balanced_sample_holds_at_most_so_many_images_of_each_class():
    labels = np.repeat([2, 0, 1], [20, 4, 30])
    first, again, other = (balanced_sample(labels, 9, seed) for seed in (0, 0, 1))
    assert np.bincount(labels[first]).tolist() == [4, 9, 9]
    assert first.tolist() == again.tolist() == sorted(set(first)) != other.tolist()
    assert len(balanced_sample(labels, 30)) == len(labels)


def test_the_probe_refuses_nothing_to_learn_or_to_read(blobs):
    data, labels = blobs(3.0)
    with pytest.raises(ValueError, match="at least 2 classes"):
        linear_probe(data, np.zeros_like(labels), data, labels)
    with pytest.raises(ValueError, match="0 sample"):
        linear_probe(data, labels, data[:0], labels[:0])
