"""Lines in 1/n through values that lie on one."""

import numpy as np
import pytest

from score_jax.evaluation import extrapolation
from score_jax.evaluation.extrapolation import subset_sizes


def test_a_line_in_one_over_n_is_found_and_has_no_width():
    seen = []

    def of_rows(rows):
        seen.append(rows)
        return 3 + 7 / len(rows)

    line = extrapolation._line(200, of_rows, 0)
    assert (line.value, line.low, line.high) == pytest.approx((3, 3, 3), abs=1e-9)
    np.testing.assert_allclose(line.distances, 3 + 7 / line.counts)
    np.testing.assert_array_equal(line.counts, (100, 114, 128, 142, 157, 171, 185, 200))
    assert [len(rows) for rows in seen] == line.counts.tolist()
    assert all((np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < 200 for rows in seen)
    assert seen[0][0] > 0 or seen[0][-1] > 99  # not simply the first ones


def test_the_interval_holds_95_percent_of_lines_through_points_drawn_again():
    """Points off the line by alternating signs: the middle is that of all points, the ends lie on both sides."""
    offs = iter(np.tile([0.1, -0.1], 4))
    line = extrapolation._line(8000, lambda rows: 3 + 70 / len(rows) + next(offs), 1)
    points = np.polyfit(1 / line.counts, line.distances, 1)[1]
    assert line.value == pytest.approx(points)
    assert line.low < line.value < line.high
    rng, lines = np.random.default_rng(5), []
    for _ in range(4000):
        draw = rng.integers(0, 8, 8)
        if len(np.unique(draw)) > 2:
            lines.append(np.polyfit(1 / line.counts[draw], line.distances[draw], 1)[1])
    assert (line.low, line.high) == pytest.approx(np.quantile(lines, [0.025, 0.975]), abs=0.12 * np.ptp(lines))


def test_two_points_are_no_line():
    line = extrapolation._line(3, lambda rows: float(len(rows)), 0)
    assert (line.value, line.low, line.high) == (3.0, None, None)


def test_subsets_begin_at_5000_of_many_and_at_half_of_few():
    for count, first in ((100_000, 10_000), (50_000, 5000), (20_000, 5000), (9000, 4500), (100, 50), (3, 2)):
        sizes = subset_sizes(count)
        assert (sizes[0], sizes[-1]) == (first, count)
        assert len(sizes) == min(8, count - first + 1)
