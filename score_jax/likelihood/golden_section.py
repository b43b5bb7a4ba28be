"""The maximum of functions of one number, by golden section."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

_RATIO = (5**0.5 - 1) / 2
Values = Float[np.ndarray, "*shape"]


def golden_section(function: Callable[[Values], Values], low: Values, high: Values, steps: int) -> Values:
    """Returns where each of many functions of one number has its maximum, all searched at the same time.

    Args:
      function: of arrays of one shape; element i of its values is a function of element i alone, with one maximum.
      low: lower ends of the intervals.
      high: upper ends.
      steps: each shortens the intervals by 0.62 and calls the function once; two calls come before them.

    >>> print(golden_section(lambda x: -((x - np.array([0.2, 3.0])) ** 2), np.zeros(2), np.full(2, 4.0), 30).round(4))
    [0.2 3. ]
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    left, right = high - _RATIO * (high - low), low + _RATIO * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        lower = at_left > at_right  # the maximum lies below `right`
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        new = np.where(lower, high - _RATIO * (high - low), low + _RATIO * (high - low))
        at_new = function(new)
        left, right = np.where(lower, new, right), np.where(lower, left, new)
        at_left, at_right = np.where(lower, at_new, at_right), np.where(lower, at_left, at_new)
    return np.where(at_left > at_right, left, right)
