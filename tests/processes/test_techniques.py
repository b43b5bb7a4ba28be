"""NCSNv2's techniques against the paper's configs, which they led to."""

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.processes.techniques import (
    langevin_step,
    largest_distance,
    level_count,
    level_ratio,
    overlap,
    variance_ratio,
)


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


def test_shells_overlap_as_two_normal_laws():
    """Phi(3) - Phi(-3) of equal levels; of d = 8 and ratio 1.5, Phi(6.5) - Phi(-2.5) from tables."""
    assert overlap(1.0, 7) == pytest.approx(0.9973002, abs=1e-7)
    assert overlap(1.5, 8) == pytest.approx(0.9937903, abs=1e-7)


def test_in_many_dimensions_the_ratio_is_three_widths_of_a_shell():
    assert (level_ratio(10**9) - 1) * (2 * 10**9) ** 0.5 == pytest.approx(3, rel=1e-3)
    assert overlap(level_ratio(50), 50) == pytest.approx(0.5)
    assert overlap(level_ratio(50, 0.9), 50) == pytest.approx(0.9)


def test_levels_are_counted_with_both_ends():
    ratio = level_ratio(100)
    assert level_count(2 * ratio**7, 2.0, 100) == 8


def test_the_step_leaves_the_variance_nearest_to_the_levels():
    step = langevin_step(0.1, 1.05, 20) / 0.1**2
    left = [abs(variance_ratio(step * factor, 1.05, 20) - 1) for factor in (0.99, 1, 1.01)]
    assert left[1] < min(left[0], left[2])
