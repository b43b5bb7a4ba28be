"""Kernel distances against double sums."""

import numpy as np
import pytest

from score_jax.evaluation.kernel_distance import (
    cmmd,
    cubic_kernel,
    gaussian,
    kernel_distance,
    kernel_distance_in_blocks,
    polynomial,
    squared_mmd,
)

RNG = np.random.default_rng(0)


def test_squared_mmd_is_unbiased_and_sees_a_shift():
    same = [squared_mmd(RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20
    assert squared_mmd(RNG.normal(size=(40, 3)) + 1, RNG.normal(size=(40, 3))) > 10 * np.std(same)


def test_squared_mmd_is_the_double_sum():
    x, y = RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2))
    kernel = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    xx = np.mean([kernel(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(3) for j in range(3) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y) == pytest.approx(xx + yy - 2 * xy)
    assert cubic_kernel(x, y)[1, 2] == pytest.approx(kernel(x[1], y[2]))


def test_kernel_distance_of_equal_laws_is_near_zero():
    mean, spread = kernel_distance(generated=RNG.normal(size=(300, 3)), real=RNG.normal(size=(300, 3)), subsets=30)
    assert abs(mean) < 3 * spread and spread > 0


def test_kernels_are_what_they_say():
    x, y = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
    assert polynomial(2, 0.3, 0.5)(x, y)[2, 1] == pytest.approx((0.3 * x[2] @ y[1] + 0.5) ** 2)
    assert gaussian(1.5)(x, y)[1, 0] == pytest.approx(np.exp(-np.sum((x[1] - y[0]) ** 2) / 4.5))
    np.testing.assert_allclose(np.diag(gaussian(0.1)(1e3 + x, 1e3 + x)), 1, rtol=1e-6)


def test_subsets_are_those_of_a_seed():
    generated, real = RNG.normal(size=(60, 3)).astype(np.float32), RNG.normal(size=(50, 3)).astype(np.float32)
    rng = np.random.RandomState(2020)
    first = rng.choice(60, 20, replace=False), rng.choice(50, 20, replace=False)
    expected = squared_mmd(generated[first[0]].astype(float), real[first[1]].astype(float))
    assert kernel_distance(generated=generated, real=real, subsets=1, subset_size=20)[0] == pytest.approx(expected)


def test_blocks_are_consecutive_and_the_last_ones_longer():
    generated, real = RNG.normal(size=(2050, 2)), RNG.normal(size=(1500, 2))
    # ceil(2050 / 1024) = 3 blocks: 683, 683, 684 and 500 each.
    bounds = [0, 683, 1366, 2050]
    values = [squared_mmd(generated[bounds[i] : bounds[i + 1]], real[500 * i : 500 * (i + 1)]) for i in range(3)]
    mean, error = kernel_distance_in_blocks(generated=generated, real=real)
    assert mean == pytest.approx(np.mean(values))
    assert error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3))
    assert np.isnan(kernel_distance_in_blocks(generated=generated[:40], real=real[:40])[1])


def test_cmmd_is_the_biased_sum():
    x, y = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    kernel = gaussian(10.0)
    expected = 1000 * (kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())
    assert cmmd(generated=x, real=y) == pytest.approx(expected)
    assert cmmd(generated=x, real=x) == pytest.approx(0, abs=1e-9)
