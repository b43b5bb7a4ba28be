"""The page of a likelihood: its numbers, the examples at both ends, and where errors come from."""

import numpy as np

from score_jax.evaluation.likelihood_page import SHOWN, ends_of, write_likelihood_page

RESULT = {
    "schema": "score_jax/result/1",
    "kind": "likelihood",
    "measured": ["bpd_ode_uniform"],
    "method": "ode",
    "bpd_ode_uniform": 3.21234,
    "bpd_ode_uniform_standard_error": 0.0123,
    "bpd_ode_uniform_interval_95": [3.18, 3.24],
    "count": 6,
    "nfe_mean": 61.0,
    "estimator_standard_error": {"probes": 0.0045, "dequantisation": None},
    "tolerance_sensitivity": None,
    "conventions": {"dequantisation": "uniform", "levels": 256, "data_range": [-1.0, 1.0]},
    "data": "<script>",
}


def test_the_ends_are_the_examples_of_fewest_and_most_bits():
    fewest, most = ends_of(np.array([3.0, 1.0, 9.0, 2.0, 8.0, 4.0]))
    assert fewest.tolist() == [1, 3, 0] and most.tolist() == [2, 4, 5]
    fewest, most = ends_of(np.arange(100.0))
    assert fewest.tolist() == list(range(SHOWN)) and most.tolist() == list(range(99, 99 - SHOWN, -1))
    assert [places.tolist() for places in ends_of(np.array([1.0]))] == [[0], [0]]


def test_the_page_has_numbers_pictures_and_errors(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    path = tmp_path / "likelihood.html"
    write_likelihood_page(path, RESULT, np.linspace(3, 4, 6), images[:3], images[3:])
    page = path.read_text()
    for text in ("3.2123 +- 0.0123", "3.1800 to 3.2400", "Fewest bits", "Most bits", "probes 0.0045", "uniform", "61"):
        assert text in page
    assert page.count("data:image/png") == 2 and "<script>" not in page and "&lt;script&gt;" in page
    points = np.random.default_rng(1).normal(size=(3, 1, 1, 2)).astype(np.float32)
    write_likelihood_page(path, RESULT, np.linspace(3, 4, 6), points, points)
    assert path.read_text().count("data:image/png") == 2
