"""Grids of times against published tables and against what is said to be even in them."""

import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.errors import InputError
from score_jax.samplers import grids

PROCESSES = every_process(10.0)


def even(values):
    """The differences of neighbours, over the first of them."""
    differences = np.diff(np.asarray(values, np.float64))
    return differences / differences[0]


def test_uniform_and_quadratic_grids_are_even_in_time_and_its_root(x64):
    for grid, root in ((grids.uniform(7, 0.04, 0.81), 1.0), (grids.quadratic(7, 0.04, 0.81), 0.5)):
        assert grid.shape == (8,)
        np.testing.assert_allclose(grid[jnp.array([0, -1])], (0.81, 0.04), rtol=1e-12)
        np.testing.assert_allclose(even(grid**root), 1, rtol=1e-9)
    np.testing.assert_allclose(grids.uniform(2, 0.5), (1, 0.75, 0.5), rtol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_grid_of_log_snr_is_even_in_it(name, x64):
    process = PROCESSES[name]
    low, high = 0.01 * process.t_max, 0.9 * process.t_max
    grid = grids.log_snr(6, process, low, high)
    assert grid.shape == (7,)
    np.testing.assert_allclose(grid[jnp.array([0, -1])], (high, low), rtol=1e-9)
    np.testing.assert_allclose(even(process.log_snr(grid)), 1, rtol=1e-6)


def test_the_eighteen_steps_of_edm_are_the_published_ones(x64):
    """What NVlabs/edm takes for CIFAR-10: 80 to 0.002, then 0."""
    published = [80, 57.586, 40.786, 28.375, 19.352, 12.910, 8.4009, 5.3152, 3.2568]
    published += [1.9233, 1.0882, 0.5853, 0.2964, 0.1395, 0.0599, 0.0229, 0.0075, 0.002, 0]
    np.testing.assert_allclose(grids.karras(18, 0.002, 80.0), published, rtol=5e-3)
    np.testing.assert_allclose(grids.karras(3, 1.0, 4.0, rho=2.0), (4, 2.25, 1, 0), rtol=1e-12)


def test_levels_are_walked_down_and_each_as_often_as_asked():
    indices = np.array([0, 3, 8])
    np.testing.assert_array_equal(grids.levels(indices), (8, 3, 0, -1))
    np.testing.assert_array_equal(grids.levels(indices, repeats=2), (8, 8, 3, 3, 0, 0, -1))
    np.testing.assert_array_equal(grids.levels(indices[1:], end=None), (8, 3, 3))


def test_even_levels_have_both_ends():
    np.testing.assert_array_equal(grids.even_levels(1000, 5), (0, 250, 500, 749, 999))
    np.testing.assert_array_equal(grids.even_levels(7, 7), np.arange(7))
    np.testing.assert_array_equal(grids.even_levels(1000, 2), (0, 999))
    np.testing.assert_array_equal(grids.even_levels(1000, 1), (999,))
    for num_steps in (0, 8):
        with pytest.raises(InputError, match="give 1 to 7"):
            grids.even_levels(7, num_steps)
