"""Retrieval among features whose order is known, and against a sort."""

import numpy as np
import pytest

from score_jax.evaluation import retrieval
from score_jax.evaluation.retrieval import image_ranks, recalls, text_ranks, zero_shot_accuracy


def at(*degrees):
    """Directions in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


IMAGES, TEXTS, OWN = at(0, 10, 95, 40), at(5, 90, 180), np.array([0, 0, 1, 2])
"""The last image is nearest to the first text, then to the second."""


def test_known_ranks():
    np.testing.assert_array_equal(text_ranks(IMAGES, TEXTS, OWN), [0, 0, 0, 2])
    np.testing.assert_array_equal(image_ranks(IMAGES, TEXTS, OWN), [0, 0, 1])
    found = recalls(IMAGES, TEXTS, OWN, first=(1, 2))
    assert found["image_to_text_recall_at_1"] == found["image_to_text_recall_at_2"] == 0.75
    assert (found["text_to_image_recall_at_1"], found["text_to_image_recall_at_2"]) == (pytest.approx(2 / 3), 1)
    expected = np.cos(np.deg2rad([5, 5, 5, 140])).mean()
    assert found["mean_cosine"] == pytest.approx(expected, abs=1e-6)


def test_features_that_say_nothing_find_nothing():
    same = np.ones((6, 1), np.float32)
    found = recalls(same, same[:3], np.array([0, 0, 1, 1, 2, 2]))
    assert found["image_to_text_recall_at_1"] == found["text_to_image_recall_at_1"] == 0


def test_ranks_are_places_in_a_sort(monkeypatch):
    monkeypatch.setattr(retrieval, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    images, texts = (rng.standard_normal((n, 3)) for n in (11, 6))
    images, texts = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (images, texts))
    own = np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 3])
    cosines = images @ texts.T
    by_image = [list(np.argsort(-row)).index(i) for row, i in zip(cosines, own, strict=True)]
    by_text = []
    for text, column in enumerate(cosines.T):
        order = own[np.argsort(-column)]
        by_text.append(int(np.argmax(order == text)))
    np.testing.assert_array_equal(text_ranks(images, texts, own), by_image)
    np.testing.assert_array_equal(image_ranks(images, texts, own), by_text)


def test_zero_shot():
    assert zero_shot_accuracy(IMAGES, TEXTS, np.array([0, 0, 1, 2])) == 0.75
