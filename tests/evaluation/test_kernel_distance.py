"""Kernel distances against double sums."""

import numpy as np
import pytest

from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.kernel_distance import (
    cmmd,
    cubic_kernel,
    gaussian,
    kernel_distance,
    kernel_distance_in_blocks,
    polynomial,
    squared_mmd,
    subset_size,
)
from score_jax.evaluation.metrics import measure
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.statistics import moments

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
    mean, spread = kernel_distance(
        generated=RNG.normal(size=(300, 3)), real=RNG.normal(size=(300, 3)), subsets=30, size=150
    )
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
    assert kernel_distance(generated=generated, real=real, subsets=1, size=20)[0] == pytest.approx(expected)


def test_blocks_are_consecutive_and_the_last_ones_longer():
    generated, real = RNG.normal(size=(2050, 2)), RNG.normal(size=(1500, 2))
    # ceil(2050 / 1024) = 3 blocks: 683, 683, 684 and 500 each.
    bounds = [0, 683, 1366, 2050]
    values = [squared_mmd(generated[bounds[i] : bounds[i + 1]], real[500 * i : 500 * (i + 1)]) for i in range(3)]
    mean, error = kernel_distance_in_blocks(generated=generated, real=real)
    assert mean == pytest.approx(np.mean(values))
    assert error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3))
    assert kernel_distance_in_blocks(generated=generated[:40], real=real[:40])[1] is None  # of one block


def test_cmmd_is_the_biased_sum():
    x, y = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    kernel = gaussian(10.0)
    expected = 1000 * (kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())
    assert cmmd(generated=x, real=y) == pytest.approx(expected)
    assert cmmd(generated=x, real=x) == pytest.approx(0, abs=1e-9)


def test_blocks_of_cmmd_make_no_difference(monkeypatch):
    x, y = RNG.normal(size=(11, 3)), RNG.normal(size=(9, 3))
    whole = cmmd(generated=x, real=y)
    monkeypatch.setattr("score_jax.evaluation.kernel_distance._TFGAN_BLOCK", 4)
    assert cmmd(generated=x, real=y) == pytest.approx(whole, rel=1e-9)


def test_the_bias_of_cmmd_is_that_of_its_diagonal():
    """Embeddings at right angles, none of which is in both sets: exp(-2 / 200) off the diagonals, 1 on them."""
    rows = np.eye(50, dtype=np.float32)
    expected = 1000 * (1 / 20 + 1 / 30) * (1 - np.exp(-0.01))
    assert cmmd(generated=rows[:20], real=rows[20:]) == pytest.approx(expected)


def test_a_subset_is_as_large_as_the_evaluator_has_it():
    assert subset_size(50_000, 10_000) == subset_size(50_000, 10_000, halved=False) == 1000
    assert subset_size(900, 700) == 350
    assert subset_size(900, 700, halved=False) == 700


def test_the_distance_of_few_images_is_clean_fids():
    """clean_fid.fid.kernel_distance: all rows of the smaller set, in each of its 100 subsets."""
    generated, real = RNG.normal(size=(40, 8)), RNG.normal(size=(30, 8)) + 0.5
    n, m, total, rng = 8, 30, 0.0, np.random.default_rng(0)
    for _ in range(100):
        x, y = real[rng.choice(30, m, replace=False)], generated[rng.choice(40, m, replace=False)]
        a = (x @ x.T / n + 1) ** 3 + (y @ y.T / n + 1) ** 3
        total += (a.sum() - np.diag(a).sum()) / (m - 1) - ((x @ y.T / n + 1) ** 3).sum() * 2 / m
    sets = {
        kind: FeatureSet({"features": moments(rows)}, rows, None, {"n": len(rows)})
        for kind, rows in (("generated", generated), ("real", real))
    }
    found = measure(PROTOCOLS["clean_fid"], **sets, name="")
    assert found["kid_subset_size"] == 30
    assert found["kid"] == pytest.approx(total / 100 / m, rel=0.05)  # other subsets of the generated


def test_a_protocol_measures_no_precision_of_other_features_than_its_evaluators():
    rows = RNG.normal(size=(20, 4))
    features = FeatureSet({"features": moments(rows)}, rows, None, {"n": 20})
    found = measure(PROTOCOLS["torch_fidelity"], generated=features, real=features, name="")
    assert "precision" not in found and found["kid_subset_size"] == 10
