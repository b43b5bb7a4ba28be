"""MIND where it is known in closed form."""

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation import metrics, sliced_wasserstein
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.sliced_wasserstein import mind, squared_distances_along
from score_jax.evaluation.statistics import moments

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sliced_wasserstein, "_ROWS", 17)
    monkeypatch.setattr(sliced_wasserstein, "_DIRECTIONS", 7)


def test_moved_and_stretched_sets_have_the_distance_of_their_move():
    real = RNG.normal(size=(50, 3))
    directions = np.concatenate([np.eye(3), RNG.normal(size=(12, 3))])
    move = np.array([1.0, -2.0, 0.5])
    shuffled = RNG.permutation(real)
    found = squared_distances_along(directions, generated=shuffled + move, real=real)
    np.testing.assert_allclose(found, (directions @ move) ** 2)
    found = squared_distances_along(directions, generated=1.5 * shuffled, real=real)
    np.testing.assert_allclose(found, 0.25 * ((real @ directions.T) ** 2).mean(0))


def test_directions_are_uniform_so_that_a_move_scores_three_times_its_square():
    real, move = RNG.normal(size=(20, 5)).astype(np.float32), np.array([3, 0, 0, 0, 0], np.float32)
    found = mind(generated=real + move, real=real, directions=4000)
    assert abs(found.value - 27) < 4 * found.standard_error and 0.1 < found.standard_error < 0.7
    # The mean of 5 u1² of a uniform direction is 1, its variance 3 * 5 / 7 - 1.
    assert found.standard_error == pytest.approx(27 * np.sqrt((15 / 7 - 1) / 4000), rel=0.1)


def test_the_value_is_the_mean_over_the_seeds_directions():
    generated, real = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4)) + 0.2
    axes = np.random.default_rng(2020).normal(size=(9, 4))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    expected = [3 * 4 * np.mean((np.sort(generated @ u) - np.sort(real @ u)) ** 2) for u in axes]
    found = mind(generated=generated, real=real, directions=9)
    assert found.value == pytest.approx(np.mean(expected))
    assert mind(generated=generated, real=real, directions=9, seed=1).value != found.value


def test_equal_sets_are_at_distance_zero_and_the_larger_set_is_cut():
    x = RNG.normal(size=(40, 3))
    same = mind(generated=x, real=x[::-1])
    assert same.value == 0 and same.count == 40
    repeated = np.repeat(x[:1], 90, axis=0)  # any rows of it are the same
    one, other = (mind(generated=x, real=rows) for rows in (repeated, repeated[:40]))
    assert one.count == 40 and one.value == pytest.approx(other.value)
    assert mind(generated=repeated, real=x).value == pytest.approx(one.value, rel=1e-9)
    with pytest.raises(InputError, match="MIND of 0 images"):
        mind(generated=x, real=x[:0])


def test_torch_fidelity_measures_it_under_the_number_of_images():
    generated, real = RNG.normal(size=(25, 6)), RNG.normal(size=(60, 6))
    sets = {
        kind: FeatureSet({"features": moments(rows)}, rows, None, {"n": len(rows)})
        for kind, rows in (("generated", generated), ("real", real))
    }
    found = metrics.measure(PROTOCOLS["torch_fidelity"], **sets, name="")
    expected = mind(generated=generated, real=real)
    assert (found["mind25"], found["mind25_standard_error"]) == (expected.value, expected.standard_error)
    shown = {name: (value, meaning) for name, value, meaning in metrics.rows(found)}
    assert " +- " in shown["mind25"][0] and shown["mind25"][1].startswith("sliced Wasserstein")
