"""What a file states as moments, at the edges of what a covariance may be."""

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation.statistics import Moments, checked_statistics


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_a_direction_of_negative_variance_is_seen_at_any_scale(scale):
    mean = np.zeros(2)
    checked_statistics(mean, scale * np.array([[1.0, 1.0], [1.0, 1.0]]), "file")
    for negative in ([[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]], [[1.0, 1.002], [1.002, 1.0]]):
        with pytest.raises(InputError, match="no covariance: its eigenvalues"):
            checked_statistics(mean, scale * np.array(negative), "file")


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_rounding_is_a_ten_thousandth_of_the_largest(scale):
    def with_corner(corner, eigenvalue=1.0):
        return scale * np.array([[1.0, corner], [0.0, eigenvalue]])

    checked_statistics(np.zeros(2), with_corner(0.9e-4), "file")
    checked_statistics(np.zeros(2), with_corner(0.0, -0.9e-4), "file")
    with pytest.raises(InputError, match="not symmetric"):
        checked_statistics(np.zeros(2), with_corner(1.1e-4), "file")
    with pytest.raises(InputError, match="no covariance"):
        checked_statistics(np.zeros(2), with_corner(0.0, -1.1e-4), "file")


def test_the_covariance_is_unbiased():
    np.testing.assert_allclose(Moments(5, np.zeros(1), np.array([[8.0]])).covariance, [[2]])
