"""The Inception Score where it is known."""

import itertools

import numpy as np
import pytest

from score_jax.evaluation import inception_score

SURE = 50 * np.eye(10)


def test_sure_and_even_over_classes_is_the_number_of_classes():
    assert inception_score.score(np.tile(SURE, (3, 1))) == pytest.approx(10)


def test_one_class_or_no_opinion_is_one():
    assert inception_score.score(np.tile(SURE[:1], (7, 1))) == pytest.approx(1)
    assert inception_score.score(np.zeros((7, 10))) == pytest.approx(1)


def test_splits_begin_where_they_must():
    logits = np.repeat(SURE, 5, axis=0)[:47]
    bounds = [i * 47 // 10 for i in range(11)]
    expected = [inception_score.score(logits[a:b]) for a, b in itertools.pairwise(bounds)]
    assert inception_score.in_splits(logits) == pytest.approx((np.mean(expected), np.std(expected)))
    # A shuffle mixes the classes, which consecutive splits hardly do.
    assert inception_score.shuffled(logits)[0] > 1.5 * inception_score.in_splits(logits)[0]


def test_a_short_last_chunk_counts_as_much():
    logits = np.concatenate([SURE, SURE[:1]])
    assert inception_score.in_chunks(logits, 10) == pytest.approx((5.5, 4.5))


def test_the_shuffle_is_torch_fidelitys():
    """Its seed is 2020, and its generator NumPy's of old."""
    logits = np.random.default_rng(0).normal(size=(60, 4)) * 3
    order = np.random.RandomState(2020).permutation(60)
    splits = [inception_score.score(rows) for rows in np.split(logits[order], 10)]
    assert inception_score.shuffled(logits) == pytest.approx((np.mean(splits), np.std(splits)), rel=1e-12)
