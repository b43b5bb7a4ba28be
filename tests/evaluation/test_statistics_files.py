"""Statistics from files: what every evaluator writes is read, and what is no covariance is told in one line."""

import json

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation import feature_set
from score_jax.evaluation.frechet import frechet_distance
from score_jax.evaluation.statistics import moments

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 3
MU, SIGMA = ROWS.mean(axis=0), np.cov(ROWS, rowvar=False)
SINGULAR = np.cov(ROWS[:4], rowvar=False)


@pytest.fixture
def load(tmp_path):
    def load(**arrays):
        np.savez(tmp_path / "s.npz", **arrays)
        return feature_set.load(tmp_path / "s.npz")

    return load


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8", ">f4", np.longdouble])
@pytest.mark.parametrize("sigma", [SIGMA, SINGULAR, np.zeros((6, 6)), np.asfortranarray(SIGMA)])
def test_statistics_of_any_precision_and_rank_are_read(load, dtype, sigma):
    found = load(mu=MU.astype(dtype), sigma=sigma.astype(dtype)).moments["features"]
    np.testing.assert_allclose(found.mean, MU, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, sigma, rtol=1e-6, atol=1e-12)
    assert found.mean.dtype == np.float64


def test_the_meanflow_lineage_calls_them_otherwise(load):
    found = load(ref_mu=MU, ref_sigma=SIGMA)
    np.testing.assert_array_equal(found.moments["features"].mean, MU)
    np.testing.assert_allclose(found.moments["features"].covariance, SIGMA, rtol=1e-12)
    assert feature_set.holds_statistics({"ref_mu", "ref_sigma"}) and not feature_set.holds_statistics({"arr_0"})


def test_statistics_of_many_features_and_few_images_in_float32_are_read(load):
    """The covariance of 100 images in float32, by E[xx] - E[x]E[x]: 412 eigenvalues that are rounding alone."""
    rows = (0.4 + np.abs(RNG.normal(size=(100, 512))) * 0.3).astype(np.float32)
    mean = rows.mean(axis=0)
    sigma = (rows.T @ rows - 100 * np.outer(mean, mean)).astype(np.float32) / np.float32(99)
    assert np.linalg.eigvalsh(sigma)[0] < 0
    found = load(mu=mean, sigma=sigma).moments["features"]
    assert frechet_distance(generated=found, real=moments(rows)) == pytest.approx(0, abs=1e-2)


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


BAD = {
    "negated": (MU, -SIGMA, "this is no covariance: its eigenvalues go from"),
    "indefinite": (MU, SIGMA - 0.5 * np.linalg.eigvalsh(SIGMA)[-1] * np.eye(6), "no covariance"),
    "triangle": (MU, np.tril(SIGMA), r"is not symmetric, it has .* at \[\d, \d\]"),
    "one_entry": (MU, changed(SIGMA, (1, 2), SIGMA[1, 2] + 0.5), r"not symmetric, .* at \[1, 2\]"),
    "complex": (MU, SIGMA.astype(complex), "expected real numbers, found complex128"),
    "complex_mean": (MU.astype(complex), SIGMA, "found complex128"),
    "bool": (MU, np.eye(6, dtype=bool), "found bool"),
    "text": (MU.astype(str), SIGMA, "expected real numbers"),
    "nan_mean": (changed(MU, 3, np.nan), SIGMA, r"1 numbers of the mean are not finite, the first at \[3\]"),
    "nan": (MU, changed(SIGMA, (2, 4), np.nan), r"of the covariance are not finite, the first at \[2, 4\]"),
    "infinite": (MU, changed(SIGMA, (0, 0), np.inf), "not finite"),
    "root": (MU, SIGMA[:3], r"expected finite \(d,\) and \(d, d\), found shapes \(6,\) and \(3, 6\)"),
    "diagonal": (MU, SIGMA.diagonal(), "expected finite"),
    "matrix_mean": (MU[None], SIGMA, "expected finite"),
    "empty": (MU[:0], SIGMA[:0, :0], "expected finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_mean_and_covariance_is_one_line(load, case):
    mu, sigma, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        load(mu=mu, sigma=sigma)
    assert "s.npz: mu and sigma: " in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="mu_s and sigma_s: "):
        load(mu=MU, sigma=SIGMA, mu_s=mu, sigma_s=sigma)


@pytest.mark.parametrize(
    "facts",
    [
        *("no json", "[]", "3", "[" * 5000, np.arange(3), np.array(["a", "b"]), b"\xff\xfe"),
        *(f'{{"n": {n}}}' for n in ("-1", "0", "1", "2.5", '"many"', "null", "true", "NaN", "1" + "0" * 400)),
    ],
)
def test_facts_that_are_none_are_one_line(load, facts):
    with pytest.raises(InputError, match="facts") as caught:
        load(mu=MU, sigma=SIGMA, facts=np.asarray(facts))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


ROWS_BAD = [
    ({"features": np.ones((3, 5))}, r"features are float64 \(3, 5\): expected floats \(k, 6\)"),
    ({"features": np.ones(6)}, "expected floats"),
    ({"features": np.ones((3, 6), complex)}, "expected floats"),
    (
        {"features": changed(np.ones((3, 6)), (1, 1), np.nan)},
        "of 1 images are not finite, the first is image 1",
    ),
    ({"features": np.ones((3, 6)), "labels": np.arange(2)}, r"labels are int64 \(2,\): expected integers \(3,\)"),
    ({"features": np.ones((3, 6)), "labels": np.array(["a", "b", "c"])}, "expected integers"),
]


@pytest.mark.parametrize(("arrays", "message"), ROWS_BAD)
def test_features_that_do_not_fit_the_moments_are_one_line(load, arrays, message):
    with pytest.raises(InputError, match=message):
        load(mu=MU, sigma=SIGMA, **arrays)


def test_what_was_saved_comes_back(tmp_path):
    rows = ROWS.astype(np.float32)
    batch = {"features": rows, "label": np.arange(40) % 3}
    saved = feature_set.collect([batch], count=40, keep=10, facts={"resize": "tf1"})
    feature_set.save(tmp_path / "a.npz", saved)
    found = feature_set.load(tmp_path / "a.npz")
    assert found.facts == {"resize": "tf1", "n": 40} == json.loads(json.dumps(saved.facts))
    np.testing.assert_array_equal(found.features, saved.features)
    np.testing.assert_array_equal(found.labels, saved.labels)
    np.testing.assert_array_equal(found.moments["features"].mean, saved.moments["features"].mean)


def test_facts_cannot_write_into_a_message(tmp_path, load):
    plain = load(mu=MU, sigma=SIGMA, facts=np.asarray('{"resize": "tf1"}'))
    odd = load(mu=MU, sigma=SIGMA, facts=np.asarray(json.dumps({"resize": "\n\x1b[31m" + "a" * 10_000})))
    with pytest.raises(InputError) as caught:
        feature_set.check_comparable(generated=plain, real=odd)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
