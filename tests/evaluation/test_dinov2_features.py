"""DINOv2's position embeddings at other sizes, and its features under protocols; the codes' numbers are in the parity
files.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.dinov2 import dinov2_of, random_state
from score_jax.evaluation.dinov2 import DINOv2Weights, at_size, dinov2_extractor
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.models.scorers.dinov2 import DINOv2, dinov2

RNG = np.random.default_rng(0)
TINY = DINOv2(image_size=518, width=8, layers=1, heads=2)


@pytest.fixture(scope="module")
def weights():
    return dinov2_of(random_state(0, TINY), heads=2)


def with_position(weights, grid, **changes):
    """The same with position embeddings that are known: a grid (37, 37) in all channels."""
    position = jnp.asarray(np.repeat(np.concatenate([[7.0], grid.ravel()])[:, None], 8, axis=1), jnp.float32)
    module = weights.module.clone(**changes)
    return DINOv2Weights(module, {**weights.params, "position": position}, "")


def side_of(weights, size, code="hub"):
    position = np.asarray(at_size(weights, size, code).params["position"])
    side = size // 14
    assert position.shape == (1 + side**2, 8) and (position[0] == 7).all()
    return position[1:, 0].reshape(side, side)


def test_the_codes_step_differently_over_a_ramp(weights):
    """What cubic interpolation finds on a ramp is nearly where it looked; by the last place the steps are 0.2 apart."""
    places = np.arange(16) + 0.5
    for code, step in (("hub", 37 / 16.1), ("transformers", 37 / 16)):
        at = places * step - 0.5
        for ramp in (np.indices((37, 37))[0], np.indices((37, 37))[1].T):
            found = side_of(with_position(weights, ramp), 224, code)
            np.testing.assert_allclose(found[2:14, 7], at[2:14], atol=0.05)
            np.testing.assert_allclose(found, found[:, :1].repeat(16, axis=1), atol=1e-5)


def test_antialias_comes_with_registers_and_the_codes_agree_there(weights):
    checkered = np.indices((37, 37)).sum(0) % 2 * 2.0 - 1
    plain, registers = with_position(weights, checkered), with_position(weights, checkered, registers=4)
    np.testing.assert_array_equal(side_of(registers, 224, "hub"), side_of(registers, 224, "transformers"))
    assert np.abs(side_of(registers, 224)).max() < 0.1 < 0.5 < np.abs(side_of(plain, 224)).max()


@pytest.mark.parametrize("code", ["hub", "transformers"])
def test_nothing_is_resized_at_the_published_size(weights, code):
    np.testing.assert_array_equal(at_size(weights, 518, code).params["position"], weights.params["position"])


def test_features_are_named_by_their_network(weights):
    names = {"vitl14": "dinov2", "vitb14": "dinov2_vitb14"}
    for architecture, name in names.items():
        assert dataclasses.replace(weights, module=dinov2(architecture)).name == name
    assert dataclasses.replace(weights, module=dinov2("vitl14", registers=4)).name == "dinov2_vitl14_reg"
    assert weights.name == "dinov2_other"


def test_an_extractor_shows_the_network_what_its_protocol_says(weights):
    images = RNG.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    sized, found = at_size(weights, 224), {}
    for protocol in ("edm2_dinov2", "dgm_eval"):
        extractor = dinov2_extractor(weights, PROTOCOLS[protocol])
        assert extractor.name == "dinov2_other" and extractor.identity == weights.sha256[:16]
        seen = extractor.prepare(jnp.asarray(images))
        np.testing.assert_allclose(extractor.prepare_alone(images[1]), seen[1], atol=2e-5)
        found[protocol] = jax.jit(extractor.apply)(extractor.params, seen)["features"]
        assert found[protocol].shape == (2, 8)
        expected = sized.module.apply({"params": sized.params}, seen)
        np.testing.assert_allclose(found[protocol], expected, atol=1e-5)
        levels = extractor.prepare(jnp.asarray([0, 255], jnp.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2))
        np.testing.assert_allclose(levels[0, 0, 0], [-2.1179039, -2.0357143, -1.8044444], rtol=1e-5)
        np.testing.assert_allclose(levels[1, 9, 3], [2.2489083, 2.4285714, 2.64], rtol=1e-5)
    assert 1e-6 < np.abs(found["edm2_dinov2"] - found["dgm_eval"]).max() < 0.1  # they differ by rounding to bytes
