"""Paths of embeddings: on the sphere, towards a text, along components."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.codecs.embedding_codes import principal_components
from score_jax.guidance.embedding_paths import between, from_components, text_difference, towards

RNG = np.random.default_rng(0)
Z, OTHER, TEXT = (jnp.asarray(RNG.normal(size=(5, 8)), jnp.float32) for _ in range(3))


def length(z):
    return np.linalg.norm(np.asarray(z), axis=-1)


def angle(a, b):
    return np.arccos(np.clip(np.sum(np.asarray(a) * np.asarray(b), axis=-1) / length(a) / length(b), -1, 1))


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 1.0])
def test_an_arc_has_the_angle_of_its_weight_and_lengths_between(weight):
    found = between(Z, OTHER, weight)
    np.testing.assert_allclose(angle(Z, found), weight * angle(Z, OTHER), atol=1e-3)
    np.testing.assert_allclose(length(found), (1 - weight) * length(Z) + weight * length(OTHER), rtol=1e-4)


def test_one_angle_belongs_to_the_whole_vector():
    # An angle for each number, as one public slerp has it, would leave numbers of the same sign as they are.
    found = between(jnp.array([[3.0, 1.0]]), jnp.array([[1.0, 3.0]]), 0.5)
    np.testing.assert_allclose(found, [[5**0.5, 5**0.5]], rtol=1e-5)


def test_a_text_difference_turns_an_embedding_and_keeps_its_length():
    direction = text_difference(7.0 * TEXT, OTHER)
    np.testing.assert_allclose(length(direction), 1, rtol=1e-5)
    np.testing.assert_allclose(direction, text_difference(TEXT, 3.0 * OTHER), rtol=1e-4, atol=1e-5)
    assert (np.sum(np.asarray(direction * TEXT), axis=-1) > 0).all()
    for theta in (0.0, 0.3, 1.0):
        found = towards(Z, direction, theta)
        np.testing.assert_allclose(length(found), length(Z), rtol=1e-5)
        np.testing.assert_allclose(angle(Z, found), theta * angle(Z, direction), atol=1e-3)


def test_all_components_are_the_embedding_and_fewer_are_nearest_to_it():
    mean, basis = (jnp.asarray(each, jnp.float32) for each in principal_components(RNG.normal(size=(64, 8))))
    np.testing.assert_allclose(from_components(Z, mean, basis, 8), Z, atol=1e-5)
    lost = [length(from_components(Z, mean, basis, count) - Z) for count in range(1, 9)]
    assert (np.diff(lost, axis=0) <= 1e-6).all()
    part = from_components(Z, mean, basis, 3)
    np.testing.assert_allclose(from_components(part, mean, basis, 3), part, atol=1e-5)
