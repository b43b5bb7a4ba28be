"""Authenticity and data-copying on laws where they are known."""

import math

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation import neighbours
from score_jax.evaluation.memorisation import authenticity, copying_in_cells, copying_score, data_copying
from score_jax.evaluation.neighbours import nearest_rows


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_nearest_row_is_that_of_the_double_loop(monkeypatch):
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    monkeypatch.setattr(neighbours, "_MOST", 5)
    queries, rows = normal(0, 16, 3), 0.5 + normal(1, 23, 3)
    squares = ((queries[:, None] - rows[None]) ** 2).sum(-1)
    found = nearest_rows(queries.astype(np.float32), rows.astype(np.float32))
    np.testing.assert_array_equal(found.row, squares.argmin(1))
    np.testing.assert_allclose(found.squared, squares.min(1), rtol=1e-5)
    others = ((rows[:, None] - rows[None]) ** 2).sum(-1) + np.where(np.eye(23) == 1, np.inf, 0)
    asked = np.array([22, 3, 4, 5, 9, 0, 11, 12])
    found = nearest_rows(rows[asked], rows, itself=asked)
    np.testing.assert_array_equal(found.row, others.argmin(1)[asked])
    np.testing.assert_allclose(found.squared, others.min(1)[asked], rtol=1e-9)


REFLEXIVE = {1: 2 / 3, 2: 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3)), 3: 16 / 27}
"""The probability that a point is the nearest neighbour of its nearest neighbour (Pickard 1982)."""


@pytest.mark.parametrize("dim", REFLEXIVE)
def test_fresh_samples_are_authentic_as_often_as_neighbours_are_not_mutual(dim):
    """A sample of no copies is one point more, nearest to some point, whose nearest it is or not."""
    rng, count = np.random.default_rng(dim), 6000
    training, fresh = rng.uniform(size=(2, count, dim))
    share = authenticity(generated=fresh, training=training)
    assert abs(share - (1 - REFLEXIVE[dim])) < 0.03


def test_fresh_samples_of_many_dimensions_are_authentic_half_the_time_unless_there_are_hubs():
    training, fresh = normal(3, 2, 2000, 500)
    assert authenticity(generated=fresh, training=training) > 0.8  # points near the centre are nearest to all others
    training, fresh = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (training, fresh))
    assert abs(authenticity(generated=fresh, training=training) - 0.5) < 0.05


def test_copies_are_not_authentic_and_strangers_are():
    training = normal(0, 300, 4).astype(np.float32)
    assert authenticity(generated=training[:100], training=training) == 0
    assert authenticity(generated=training[5:90] + np.float32(1e-4), training=training) == 0
    assert authenticity(generated=training + np.float32(50), training=training) == 1
    half = np.concatenate([training[:100], training[:100] + np.float32(50)])
    assert authenticity(generated=half, training=training) == 0.5
    doubled = np.concatenate([training, training])  # the nearest other image is the same one
    assert authenticity(generated=training, training=doubled) == 0
    with pytest.raises(InputError, match="2 or more, not 1"):
        authenticity(generated=training, training=training[:1])


def test_the_score_counts_pairs():
    generated, held_out = np.array([1.0, 4.0, 2.0]), np.array([2.0, 3.0, 0.0, 0.5])
    wins = sum((g > h) + 0.5 * (g == h) for g in generated for h in held_out)
    expected = (wins - (3 * 4 / 2 - 0.5)) / math.sqrt(3 * 4 * 8 / 12)
    assert copying_score(generated=generated, held_out=held_out) == pytest.approx(expected)


def test_scores_of_one_law_are_standard_normal():
    rng = np.random.default_rng(0)
    scores = [copying_score(generated=rng.exponential(size=40), held_out=rng.exponential(size=60)) for _ in range(2000)]
    assert abs(np.mean(scores)) < 0.1 and abs(np.std(scores) - 1) < 0.06


def in_cells(**sets):
    """Two cells, left and right of 0."""
    return {name: (rows, (rows[:, 0] > 0).astype(int)) for name, rows in sets.items()}


def test_a_cell_of_copies_and_one_of_strangers():
    left, right = np.random.default_rng(0).uniform(size=(2, 90, 2)) * 0.2
    training = np.concatenate([-1 - left[:60], 1 + right[:40]])
    held_out = np.concatenate([-1 - left[60:], 1 + right[40:]])
    generated = np.concatenate([training[:60], np.full((50, 2), 9.0)])
    sets = in_cells(training=training, held_out=held_out, generated=generated)
    found = copying_in_cells(**sets)

    def extreme(m, n, sign):
        return (sign * m * n / 2 + 0.5) / math.sqrt(m * n * (m + n + 1) / 12)

    np.testing.assert_allclose(found.scores, [extreme(60, 30, -1), extreme(50, 50, 1)])
    assert found.held_out.tolist() == [30, 50] and found.generated.tolist() == [60, 50]
    assert found.value == pytest.approx((30 * found.scores[0] + 50 * found.scores[1]) / 80)
    few = copying_in_cells(**sets, fewest=50)  # the second cell has not more than these
    assert np.isnan(few.scores[1]) and few.value == few.scores[0]


def test_distances_are_within_a_cell():
    """The nearest training image of the other cell is nearer, and does not count."""
    training, held_out = np.array([[-3.0], [0.1], [0.2]]), np.array([[-0.1], [5.0]])
    generated = np.array([[-1.0], [5.0], [5.0]])
    found = copying_in_cells(**in_cells(training=training, held_out=held_out, generated=generated), fewest=0)
    # 2 is less than 2.9; in the other cell all are equal.
    np.testing.assert_allclose(found.scores, [0, 0.5 / math.sqrt(2 * 4 / 12)])


def mixture(seed, count, dim=80):
    """Three distant Gaussians in a plane of many dimensions."""
    rng = np.random.default_rng(seed)
    centres = 20 * np.eye(dim)[:3]
    return (centres[rng.integers(0, 3, count)] + rng.normal(size=(count, dim))).astype(np.float32)


def test_what_the_test_of_data_copying_says_of_known_laws():
    training, held_out, fresh = mixture(0, 900), mixture(1, 600), mixture(2, 600)
    sets = {"held_out": held_out, "training": training}
    assert abs(data_copying(generated=fresh, **sets).value) < 2
    rng = np.random.default_rng(4)
    copied = training[rng.integers(0, 900, 600)] + 0.3 * rng.normal(size=(600, 80)).astype(np.float32)
    found = data_copying(generated=copied, **sets)
    assert found.value < -10 and (found.scores < -10).all()
    assert found.held_out.sum() == 600 and found.held_out.min() > 150  # the three Gaussians
    blurred = fresh + 2 * rng.normal(size=(600, 80)).astype(np.float32)
    assert data_copying(generated=blurred, **sets).value > 10


def test_components_of_the_training_data_keep_its_distances():
    """Features of a plane in many dimensions are, in two components, the same points."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(90, 2)))[0].T
    flat = {name: rng.normal(size=(200, 2)) for name in ("training", "held_out", "generated")}
    wide = {name: 3 + rows @ axes for name, rows in flat.items()}
    plain = data_copying(**flat, cells=1, components=2)
    assert data_copying(**wide, cells=1, components=2).value == pytest.approx(plain.value)


def test_a_cell_without_held_out_images_has_no_weight():
    rows = np.random.default_rng(0).normal(size=(3, 50, 1))
    names = ("training", "held_out", "generated")
    alone = {name: (each, np.zeros(50, int)) for name, each in zip(names, rows, strict=True)}
    value = copying_in_cells(**alone).value
    more = (np.concatenate([rows[0], [[70.0]]]), np.arange(51) // 50)
    made = (np.concatenate([rows[2], np.full((30, 1), 70.0)]), np.arange(80) // 50)
    found = copying_in_cells(generated=made, held_out=alone["held_out"], training=more)
    assert found.value == value and np.isnan(found.scores[1])


def test_empty_cells_are_one_line():
    one = (np.zeros((3, 1)), np.zeros(3, int))
    two = (np.arange(30.0)[:, None], np.arange(30) % 2)
    with pytest.raises(InputError, match="cell 1 of 2 has no training image"):
        copying_in_cells(generated=two, held_out=two, training=one)
    with pytest.raises(InputError, match=r"have \[3\] samples and \[3\] held-out images"):
        copying_in_cells(generated=one, held_out=one, training=one)
    with pytest.raises(InputError, match="3 cells of 2 training images"):
        data_copying(generated=one[0], held_out=one[0], training=one[0][:2])
