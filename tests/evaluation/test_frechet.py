"""The Frechet distance and its moments, against closed forms and the nuclear norm of centred features."""

import numpy as np
import pytest

from score_jax.evaluation.extrapolation import frechet_infinity, inception_score_infinity, subset_sizes
from score_jax.evaluation.frechet import bootstrap_standard_error, frechet_distance
from score_jax.evaluation.statistics import MomentAccumulator, Moments, merge, moments

RNG = np.random.default_rng(0)


def gaussian(mean, covariance):
    return Moments(2, np.asarray(mean, float), np.asarray(covariance, float))


def test_frechet_of_commuting_gaussians():
    a, b = gaussian([1.0, 2.0], np.diag([4.0, 9.0])), gaussian([0.0, 0.0], np.diag([1.0, 16.0]))
    assert frechet_distance(generated=a, real=b) == pytest.approx(5 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_frechet_of_correlated_gaussians_equals_the_general_root():
    from scipy.linalg import sqrtm

    roots = RNG.normal(size=(2, 6, 6))
    (m1, s1), (m2, s2) = ((RNG.normal(size=6), root @ root.T) for root in roots)
    expected = np.sum((m1 - m2) ** 2) + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert frechet_distance(generated=gaussian(m1, s1), real=gaussian(m2, s2)) == pytest.approx(expected)


def test_frechet_survives_fewer_images_than_features():
    features = RNG.normal(size=(10, 50))
    few, many = moments(features), moments(RNG.normal(size=(500, 50)))
    assert abs(frechet_distance(generated=few, real=few)) < 1e-5
    assert 0 < frechet_distance(generated=few, real=many) < 200


def test_bootstrap_error_is_the_spread_of_fresh_draws():
    real = moments(RNG.normal(size=(5000, 4)))
    draws = [RNG.normal(size=(200, 4)) + 0.3 for _ in range(40)]
    spread = np.std([frechet_distance(generated=moments(d), real=real) for d in draws], ddof=1)
    estimate = np.mean([bootstrap_standard_error(d, real) for d in draws[:5]])
    assert 0.5 < estimate / spread < 2


def test_moments_keep_their_digits_far_from_zero():
    features = 1e6 + RNG.normal(size=(301, 5))
    np.testing.assert_allclose(moments(features).covariance, np.cov(features - 1e6, rowvar=False), rtol=1e-7)


def from_features(a, b):
    """No root of a covariance: Tr (S1 S2)^½ is the nuclear norm of the product of centred features."""
    ca, cb = (x.astype(np.float64) - x.astype(np.float64).mean(0) for x in (a, b))
    n, m = len(a) - 1, len(b) - 1
    cross = np.linalg.svd(ca @ cb.T, compute_uv=False).sum() / np.sqrt(n * m)
    shift = a.astype(np.float64).mean(0) - b.astype(np.float64).mean(0)
    return np.sum(shift**2) + np.sum(ca**2) / n + np.sum(cb**2) / m - 2 * cross


def features(n, d, condition, seed, shift=0.0):
    rng, basis = np.random.default_rng(seed), np.linalg.qr(np.random.default_rng(9).normal(size=(d, d)))[0]
    return (rng.normal(size=(n, d)) * np.logspace(0, -np.log10(condition) / 2, d) @ basis.T + shift).astype(np.float32)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (features(20, 64, 10, 1), features(30, 64, 10, 2, 0.2)),
        (features(200, 64, 10, 1), features(30, 64, 10, 2, 0.2)),
        (features(30, 64, 10, 1), features(200, 64, 10, 2, 0.2)),
        (features(200, 64, 1e12, 1), features(200, 64, 1e12, 2, 0.2)),
        (np.full((50, 64), 0.7, np.float32), features(200, 64, 10, 2)),
        (np.repeat(features(15, 64, 10, 1), 9, axis=0), features(200, 64, 10, 2)),
    ],
    ids=["few", "few-real", "few-generated", "near-singular", "collapsed", "copies"],
)
def test_frechet_is_exact_where_covariances_are_singular(one, other):
    expected, a, b = from_features(one, other), moments(one), moments(other)
    assert frechet_distance(generated=a, real=b) == pytest.approx(expected, rel=1e-11)
    assert frechet_distance(generated=b, real=a) == pytest.approx(expected, rel=1e-11)
    for same in (a, b):
        assert abs(frechet_distance(generated=same, real=same)) <= 1e-12 * np.trace(same.covariance)


def test_frechet_knows_neither_order_nor_rotation():
    one, other = features(80, 16, 1e4, 1), features(90, 16, 1e4, 2, 0.2)
    expected = frechet_distance(generated=moments(one), real=moments(other))
    rotation = np.linalg.qr(RNG.normal(size=(16, 16)))[0]
    turned = [moments(rows[::-1].astype(np.float64) @ rotation) for rows in (one, other)]
    assert frechet_distance(generated=turned[0], real=turned[1]) == pytest.approx(expected, rel=1e-10)


def test_moments_do_not_depend_on_how_rows_were_cut():
    rows = features(2500, 7, 100, 3, 5.0)
    whole = moments(rows)
    for cuts in ([1, 3, 1024, 2047, 2050], [2048], list(range(100, 2500, 100))):
        accumulator = MomentAccumulator()
        for part in np.split(rows, cuts):
            accumulator.add(part)
        found = accumulator.result()
        assert found.count == 2500
        np.testing.assert_array_equal(found.mean, whole.mean)
        np.testing.assert_array_equal(found.scatter, whole.scatter)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-12, atol=1e-15)


def test_a_result_may_be_asked_for_before_the_end():
    rows = features(30, 3, 10, 4)
    accumulator = MomentAccumulator()
    accumulator.add(rows[:10])
    np.testing.assert_array_equal(accumulator.result().scatter, moments(rows[:10]).scatter)
    accumulator.add(rows[10:])
    np.testing.assert_array_equal(accumulator.result().scatter, moments(rows).scatter)
    with pytest.raises(ValueError, match="No features"):
        MomentAccumulator().result()


def test_a_batch_may_be_overwritten_after_it_was_added():
    rows, accumulator, batch = features(30, 3, 10, 4), MomentAccumulator(), np.empty((10, 3), np.float32)
    for part in np.split(rows, 3):
        batch[:] = part
        accumulator.add(batch)
    np.testing.assert_array_equal(accumulator.result().scatter, moments(rows).scatter)


def test_merged_moments_are_those_of_both():
    one, other = features(20, 4, 10, 5, 100.0), features(33, 4, 10, 6, -100.0)
    both = np.concatenate([one, other]).astype(np.float64)
    found = merge(moments(one), moments(other))
    np.testing.assert_allclose(found.covariance, np.cov(both, rowvar=False), rtol=1e-12)
    np.testing.assert_allclose(found.mean, both.mean(0), rtol=1e-12)


def test_moments_far_from_zero_are_exact_to_float64():
    rows = (1e4 + 1e-2 * np.arange(3000)[:, None] * np.ones(2)).astype(np.float64)
    expected = 1e-4 * np.var(np.arange(3000), ddof=1)
    np.testing.assert_allclose(moments(rows).covariance, expected, rtol=1e-10)


def test_the_line_through_subsets_takes_the_bias_away():
    d, scale = 20, 1.1
    real = Moments(10**9, np.zeros(d), np.eye(d) * (10**9 - 1))
    truth = d * (scale - 1) ** 2
    found = [frechet_infinity(RNG.normal(size=(1000, d)) * scale, real) for _ in range(20)]
    left = np.mean([line.value for line in found]) - truth
    bias = np.mean([line.distances[-1] for line in found]) - truth
    assert bias > 0.1 and abs(left) < 0.3 * bias
    assert all(line.low <= line.value <= line.high for line in found)
    drawn = RNG.normal(size=(100, d))
    assert frechet_infinity(drawn, real).value == frechet_infinity(drawn, real).value


def test_the_score_of_infinitely_many_samples_is_above_that_of_few():
    classes = 40
    rng = np.random.default_rng(3)
    found = [inception_score_infinity(30 * np.eye(classes)[rng.integers(0, classes, 400)]) for _ in range(10)]
    left = classes - np.mean([line.value for line in found])
    bias = classes - np.mean([line.distances[-1] for line in found])
    assert bias > 1 and abs(left) < 0.3 * bias


def test_subsets_grow_evenly_to_all():
    assert subset_sizes(50_000)[[0, -1]].tolist() == [5000, 50_000]
    assert subset_sizes(100)[-1] == 100 and subset_sizes(4).tolist() == [2, 3, 4]
