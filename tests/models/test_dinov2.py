"""DINOv2 by itself; its numbers are in the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.scorers.dinov2 import (
    ARCHITECTURES,
    DINOv2,
    architecture_of,
    dinov2,
    hidden_channels,
    parameter_shapes,
)

# transformers' Dinov2Model and Dinov2WithRegistersModel with the published configs count the same.
COUNTS = {
    "vits14": (22_056_576, 22_058_112),
    "vitb14": (86_580_480, 86_583_552),
    "vitl14": (304_368_640, 304_372_736),
    "vitg14": (1_136_480_768, 1_136_486_912),
}
TINY = DINOv2(image_size=42, width=16, layers=2, heads=2)
RNG = np.random.default_rng(0)


def params_of(module):
    return jax.tree.map(lambda leaf: RNG.normal(0, 0.3, leaf.shape).astype(np.float32), parameter_shapes(module))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_published_networks_have_the_published_sizes(name):
    for registers, count in zip((0, 4), COUNTS[name], strict=True):
        module = dinov2(name, registers=registers)
        assert sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(module))) == count
        assert architecture_of(module.clone(image_size=224)) == name + "_reg" * (registers > 0)
    assert architecture_of(dinov2(name, registers=2)) is None


def test_gated_layers_are_two_thirds_as_wide_in_eights():
    assert hidden_channels(1536, swiglu=True) == 2 * 4096 and hidden_channels(16, swiglu=True) == 2 * 48
    assert hidden_channels(384, swiglu=False) == 1536


def test_an_image_is_cut_into_patches_in_rows():
    params, image = params_of(TINY), RNG.normal(size=(1, 42, 42, 3)).astype(np.float32)
    # The order of patches does not matter to attention, if their places go along with them.
    flipped = np.concatenate([image[:, 14:], image[:, :14]], axis=1)
    position = params["position"]
    moved = {**params, "position": np.concatenate([position[:1], position[4:], position[1:4]])}
    apply = jax.jit(lambda params, x: TINY.apply({"params": params}, x))
    there, back = apply(params, jnp.asarray(image)), apply(moved, jnp.asarray(flipped))
    np.testing.assert_allclose(there, back, atol=1e-5)
    assert float(jnp.abs(apply(params, jnp.asarray(flipped)) - there).max()) > 2e-4


def test_blocks_scaled_to_nothing_leave_the_token_of_the_image():
    params = params_of(TINY)
    for block in ("blocks_0", "blocks_1"):
        params[block] |= {"scale_1": np.zeros(16, np.float32), "scale_2": np.zeros(16, np.float32)}
    found = TINY.apply({"params": params}, jnp.ones((1, 42, 42, 3)))[0]
    token = params["class_token"] + params["position"][0]
    normed = (token - token.mean()) / np.sqrt(token.var() + 1e-6)
    np.testing.assert_allclose(found, normed * params["norm_out"]["scale"] + params["norm_out"]["bias"], atol=1e-5)
