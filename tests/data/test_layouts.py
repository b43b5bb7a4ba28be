"""Boxes with classes as tokens."""

import numpy as np
import pytest

from score_jax.data.layouts import corner_token
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError

NOTHING = 8191


@pytest.fixture
def layouts(tmp_path):
    (tmp_path / "classes.txt").write_text("person\ntraffic light\ndog\n", encoding="utf-8")
    return lambda length=92: text_tokenizer(f"boxes:{tmp_path / 'classes.txt'}", length)


def test_corners_lie_on_a_grid_of_90():
    corners = [corner_token(x, y) for y in (0.0, 1.0) for x in (0.0, 1.0)]
    assert corners == [0, 89, 8010, 8099]
    assert corner_token(0.1, 0.4) == 36 * 90 + 9


def test_a_row_of_the_published_models(layouts):
    row = layouts().encode("dog 0.1 0.4 0.6 1; traffic light 0 0 1.0 .5\n")
    assert row.shape == (92,) and row.dtype == np.int32
    np.testing.assert_array_equal(row[:6], [2, 3249, 8063, 1, 0, round(0.5 * 89) * 90 + 89])
    assert set(row[6:90]) == {NOTHING}
    np.testing.assert_array_equal(row[90:], [0, 8099])
    np.testing.assert_array_equal(layouts().encode(""), [NOTHING] * 90 + [0, 8099])


def test_rows_without_room_for_the_part_of_the_photo(layouts):
    short = layouts(6)
    two = "dog 0 0 1 1; person 0 0 1 1"
    np.testing.assert_array_equal(short.encode(two), [2, 0, 8099, 0, 0, 8099])
    assert not short.is_cut(two) and short.is_cut(f"{two}; dog 0 0 .5 .5") and short.boxes == 2
    np.testing.assert_array_equal(short.encode(f"{two}; dog 0 0 .5 .5"), short.encode(two))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog", "The box 'dog' of a layout is not understood: give NAME LEFT TOP RIGHT BOTTOM"),
        ("dog 0 0 1", "The box 'dog 0 0 1' of a layout"),
        ("dog 0.5 0 0.1 1", "The box 'dog 0.5 0 0.1 1' of a layout"),
        ("dog 0 0 2 1", "The box 'dog 0 0 2 1' of a layout"),
        ("dog -1 0 1 1", "Unknown class of a layout 'dog -1'|The box 'dog -1 0 1 1' of a layout"),
        ("dig 0 0 1 1", "Unknown class of a layout 'dig'. Did you mean 'dog'"),
    ],
)
def test_what_is_no_box_is_one_line(layouts, text, message):
    with pytest.raises(InputError, match=message):
        layouts().encode(text)


def test_files_that_are_no_classes(tmp_path):
    with pytest.raises(InputError, match=r"^Cannot read the classes .*: No such file or directory; expected a text"):
        text_tokenizer(f"boxes:{tmp_path / 'none.txt'}")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(InputError, match="has 0 lines: expected a text file with the name of a class in each line"):
        text_tokenizer(f"boxes:{tmp_path / 'empty.txt'}")
