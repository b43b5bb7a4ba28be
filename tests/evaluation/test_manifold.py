"""Precision, recall, density and coverage where they are known, and against double loops."""

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation import manifold as module
from score_jax.evaluation.manifold import manifold, realism, squared_distances, squared_radii

RNG = np.random.default_rng(0)


def test_equal_sets_and_sets_apart():
    x = RNG.normal(size=(50, 3))
    same = manifold(generated=x, real=x)
    assert (same.precision, same.recall, same.coverage, same.f_score) == (1, 1, 1, 1)
    apart = manifold(generated=x, real=x + 100)
    assert (apart.precision, apart.recall, apart.density, apart.coverage, apart.f_score) == (0, 0, 0, 0, 0)


def test_a_collapsed_model_is_precise_and_recalls_nothing():
    real = RNG.normal(size=(200, 2))
    found = manifold(generated=np.repeat(real[:1], 50, axis=0) + 1e-6, real=real)
    assert found.precision == 1 and found.recall < 0.02 and found.coverage < 0.05


def test_equals_the_double_loop(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 7)
    generated, real, k = RNG.normal(size=(25, 2)), RNG.normal(size=(31, 2)) + 0.5, 2

    def distance(a, b):
        return np.sqrt(np.sum((a - b) ** 2))

    def radius(x, i):
        return sorted(distance(x[i], other) for j, other in enumerate(x) if j != i)[k - 1]

    balls = [radius(real, i) for i in range(31)], [radius(generated, i) for i in range(25)]
    np.testing.assert_allclose(np.sqrt(squared_radii(real, k)), balls[0])
    inside = np.array([[distance(g, r) <= balls[0][j] for j, r in enumerate(real)] for g in generated])
    around = np.array([[distance(g, r) <= balls[1][i] for r in real] for i, g in enumerate(generated)])
    found = manifold(generated=generated, real=real, k=k)
    assert found.precision == inside.any(1).mean() and found.recall == around.any(0).mean()
    assert found.density == pytest.approx(inside.sum() / (k * 25)) and found.coverage == inside.any(0).mean()
    ratios = np.array([[balls[0][j] / distance(g, r) for j, r in enumerate(real)] for g in generated])
    np.testing.assert_allclose(realism(generated=generated, real=real, k=k), (ratios**2).max(1))


def test_density_of_one_law_is_one():
    found = manifold(generated=RNG.normal(size=(1500, 4)), real=RNG.normal(size=(1500, 4)), k=5)
    assert found.density == pytest.approx(1, abs=0.1) and found.coverage > 0.95


def test_squares_are_never_negative():
    x = 1e4 + RNG.normal(size=(20, 3)) * 1e-5
    assert squared_distances(x, x).min() >= 0


def test_a_set_has_more_features_than_neighbours():
    assert squared_radii(np.array([[0.0], [2.0], [3.0]]), 2).tolist() == [9, 4, 9]
    with pytest.raises(InputError, match="at least 4"):
        squared_radii(np.zeros((3, 1)), 3)
