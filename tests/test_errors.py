"""Words of messages."""

import pytest

from score_jax.errors import counted


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((1, "image"), "1 image"),
        ((0, "image"), "0 images"),
        ((1000, "image"), "1000 images"),
        ((1, "entry", "entries"), "1 entry"),
        ((2, "entry", "entries"), "2 entries"),
    ],
)
def test_a_count_of_one_has_the_singular(words, expected):
    assert counted(*words) == expected
