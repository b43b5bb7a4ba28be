"""Labels against what a model knows: one line with the place and the value, when data is opened or as it is read."""

import numpy as np
import pytest

from score_jax.data.labels import checked_labels
from score_jax.data.sources import Source
from score_jax.errors import InputError

PIXELS = np.zeros((2, 2, 1), np.uint8)


def source(labels, classes=None, *, known=True):
    """With labels that are known without reading, or not, as those of a stream of records."""
    rows = [{"image": PIXELS} if label is None else {"image": PIXELS, "label": label} for label in labels]
    stored = np.asarray(labels) if known and labels[0] is not None else None
    return Source("toys:train", rows, lambda pixels, name: pixels, classes, stored)


def test_labels_that_name_classes_are_taken():
    for known in (True, False):
        opened = source(np.array([0, 2, 1], np.uint8), known=known).with_labels_of(3)
        assert [int(opened[i]["label"]) for i in range(3)] == [0, 2, 1] and opened[0]["label"].dtype == np.int32


WRONG = {
    "above": ([0, 1, 3], r"Image 2 of toys:train has the label 3, but the model knows the classes 0 to 2"),
    "negative": ([0, -1, 1], r"Image 1 of toys:train has the label -1"),
    "fractional": ([0.0, 1.5, 1.0], r"labels .* are float64 of shape \(3,\)|Image 0 .* has the label 0.0"),
    "in columns": (np.zeros((3, 1), int), r"are int64 of shape \(3, 1\)|Image 0 .* has the label \[0\]"),
    "one-hot": (np.eye(3, dtype=int), r"are int64 of shape \(3, 3\)|Image 0 .* has the label \[1, 0, 0\]"),
    "text": (["cat", "dog", "cat"], r"are <U3 of shape|Image 0 .* has the label 'cat'"),
    "truth": ([True, False, True], r"are bool of shape|Image 0 .* has the label True"),
    "absent": ([None, None, None], "toys:train has no labels, but the model has 3 classes"),
}


def read(source, num_classes):
    opened = source.with_labels_of(num_classes)
    return [opened[i] for i in range(len(opened))]


@pytest.mark.parametrize("what", sorted(WRONG))
@pytest.mark.parametrize("known", [True, False])
def test_labels_that_name_none_are_one_line(what, known):
    labels, message = WRONG[what]
    with pytest.raises(InputError, match=message) as error:
        read(source(labels, known=known), 3)
    assert "\n" not in str(error.value)


def test_more_classes_than_the_model_knows_are_refused_before_any_image():
    with pytest.raises(InputError, match="has 4 classes .*'a', 'b'.*, but the model has 3"):
        source([0, 1, 2], ("a", "b", "c", "d"), known=False).with_labels_of(3)
    with pytest.raises(InputError, match="has no labels"):
        source([0, 1, 2], ()).with_labels_of(3)


@pytest.mark.parametrize("labels", [["cat", "dog"], [0.5, 7.0], [-3, 10**9], np.eye(2), [None, None]])
def test_a_model_without_classes_is_told_none(labels):
    opened = source(labels, known=False).with_labels_of(0)
    assert all(np.issubdtype(opened[i]["label"].dtype, np.integer) for i in range(2))


def test_labels_of_a_file_are_counted():
    with pytest.raises(InputError, match=r"shape \(2,\): expected 3 integers"):
        checked_labels(np.array([0, 1]), 3, 5, "base.npz")
    np.testing.assert_array_equal(checked_labels(np.array([0, 4], ">i8"), 2, 5, "base.npz"), [0, 4])
