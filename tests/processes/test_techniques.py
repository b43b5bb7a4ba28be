"""NCSNv2's techniques against the paper's configs, which they led to."""

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.processes.techniques import langevin_step, largest_distance, level_count, level_ratio, variance_ratio


@pytest.mark.parametrize(
    ("sigma_max", "count", "steps", "published"),
    [(50, 232, 5, 6.2e-6), (90, 500, 5, 3.3e-6), (190, 1086, 3, 1.8e-6), (348, 2311, 3, 9e-7)],
)
def test_step_sizes_are_the_configs(sigma_max, count, steps, published):
    ratio = (sigma_max / 0.01) ** (1 / (count - 1))
    assert langevin_step(0.01, ratio, steps) == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize(("dim", "published"), [(3072, 1.0376), (12288, 1.0184), (49152, 1.0091), (196608, 1.0045)])
def test_ratios_are_near_the_configs(dim, published):
    """The papers' counts were rounded from a ratio a little below the one that solves for a half."""
    assert level_ratio(dim) - 1 == pytest.approx(published - 1, rel=0.08)


def test_levels_are_as_many_as_cifars_up_to_that():
    assert level_count(50, 0.01, 3072) == pytest.approx(232, rel=0.08)
    with pytest.raises(InputError, match="sigma_max > sigma_min"):
        level_count(0.01, 50, 3072)


def test_the_variance_after_langevin_is_simulated():
    """x <- x - (step/sigma²) x + sqrt(2 step) z from N(0, (ratio sigma)²), by its recursion."""
    step, ratio, variance = 0.05, 1.3, 1.3**2
    for _ in range(4):
        variance = (1 - step) ** 2 * variance + 2 * step
    assert variance_ratio(step, ratio, 4) == pytest.approx(variance, rel=1e-12)


def test_the_largest_distance_is_of_the_two_furthest_images():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    images[1], images[2, 0, 0] = 255, 51
    assert largest_distance(images) == pytest.approx(2.0)
