"""The embedded features of digits, and nearest neighbours."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from score_jax.errors import InputError
from score_jax.evaluation import digit_features
from score_jax.evaluation.neighbours import images_at_a_time, nearest_neighbours, nearest_of_parts

RNG = np.random.default_rng(0)


def test_nearest_neighbour_is_found_in_any_chunk():
    training = RNG.integers(0, 256, (2500, 3, 3, 1), dtype=np.uint8)
    where = np.array([0, 1500, 2499])
    noisy = np.clip(training[where].astype(int) + RNG.integers(-2, 3, (3, 3, 3, 1)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(nearest_neighbours(noisy, training), where)


@pytest.mark.parametrize("sizes", [[9], [1] * 9, [4, 0, 5]])
def test_parts_make_no_difference_and_the_first_of_equals_is_nearest(sizes):
    training = RNG.integers(0, 256, (9, 2, 2, 1), dtype=np.uint8)
    training[7] = training[3]
    generated = training[[8, 7, 0]]
    parts = np.split(training, np.cumsum(sizes)[:-1])
    distances = ((generated[:, None].astype(int) - training[None]) ** 2).sum((2, 3, 4))
    found = nearest_of_parts(generated, (part for part in parts if len(part)))
    np.testing.assert_array_equal(found, distances.argmin(1))
    assert found[1] == 3


def test_what_is_compared_at_a_time_is_bounded():
    assert images_at_a_time(3 * 512**2) * 3 * 512**2 * 8 <= 2**26
    assert images_at_a_time(28**2) == 1024 and images_at_a_time(10**9) == 1


def test_classifier_learns_and_survives_the_disk(tmp_path):
    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int32)
    classifier = digit_features.train_classifier(images[:1500], labels[:1500], steps=300)
    predicted = digit_features.predict_classes(classifier, images[1500:])
    assert (predicted == labels[1500:]).mean() > 0.85
    digit_features.save_classifier(tmp_path / "c.npz", classifier)
    loaded = digit_features.load_classifier(tmp_path / "c.npz")
    np.testing.assert_array_equal(digit_features.predict_classes(loaded, images[1500:]), predicted)
    extractor = loaded.features()
    assert extractor.apply(extractor.params, jnp.asarray(images[:40]))["features"].shape == (40, 64)


def test_one_class_is_no_classifier():
    with pytest.raises(InputError, match="of at least two classes"):
        digit_features.train_classifier(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32))


def test_a_damaged_classifier_is_said(tmp_path):
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(InputError, match="no saved digit classifier"):
        digit_features.load_classifier(tmp_path / "c.npz")
    for arrays in ({"a": np.ones(3)}, {"classes": np.array("ten")}, {"classes": 10, "logits/bias": np.ones(10)}):
        np.savez(tmp_path / "c.npz", **arrays)
        with pytest.raises(InputError, match="no saved digit classifier"):
            digit_features.load_classifier(tmp_path / "c.npz")


@pytest.mark.parametrize("labels", [[0, -1, 0, 1], [0, 0, 0, 0], [0, 1, 200_000_000, 1]])
def test_labels_that_are_no_classes_train_nothing(labels):
    with pytest.raises(InputError, match="of at least two classes"):
        digit_features.train_classifier(np.zeros((4, 8, 8, 1), np.uint8), np.array(labels))


@pytest.mark.parametrize(("alive", "tried"), [((True,), 1), ((False, True), 2), ((False, False, False), 3)])
def test_a_classifier_whose_features_have_died_is_trained_anew(alive, tried, monkeypatch):
    """Else all distances would be 0."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels, rates = np.arange(40) % 2, []
    fitted = digit_features._fitted

    def watched(images, labels, classes, rate, seed, steps):
        rates.append(rate)
        found = fitted(images, labels, classes, rate, seed, 1)
        dead = jax.tree.map(jnp.zeros_like, found.params)
        return found if alive[len(rates) - 1] else dataclasses.replace(found, params=dead)

    monkeypatch.setattr(digit_features, "_fitted", watched)
    if any(alive):
        digit_features.train_classifier(images, labels)
    else:
        with pytest.raises(InputError, match="are the same for nearly all of the 40"):
            digit_features.train_classifier(images, labels)
    assert len(rates) == tried and rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("mnist_5k", "digits"),
        ("digits", "digits"),
        ("folder:/data/MNIST-png", "digits"),
        ("folder:/mnist/cats", "classes"),
    ],
)
def test_metrics_of_data_that_are_no_digits_are_not_named_after_digits(data, name):
    assert digit_features.Classifier({}, 2).features(data).name == name
