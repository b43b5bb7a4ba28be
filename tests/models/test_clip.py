"""CLIP at tiny sizes: what sees what, and closed forms; its numbers are in the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.clip import clip_of, random_state
from score_jax.errors import InputError
from score_jax.models.blocks.attention import attend
from score_jax.models.clip.clip import CLIP, TextTransformer, directions
from score_jax.models.clip.clip_resnet import AttentionPool, Bottleneck, ModifiedResNet, Unit
from score_jax.models.clip.clip_transformer import layer_norm, quick_gelu
from score_jax.models.clip.clip_vision import VisionTransformer

END = 49
VISION = VisionTransformer(image_size=16, patch=4, width=64, layers=2, heads=1, features=8)
TEXT = TextTransformer(vocabulary=END + 1, context=12, width=64, layers=2, heads=2, features=8)
TINY = CLIP(VISION, TEXT)


@pytest.fixture(scope="module")
def network():
    return clip_of(random_state(0, TINY), heads={"text": 2})


@pytest.fixture(scope="module")
def encode(network):
    return jax.jit(network.encode_text)


def apply(module, params, x, method=None):
    return jax.jit(lambda params, x: module.apply({"params": params}, x, method=method))(params, x)


def init(module, x):
    """Fresh parameters, which tests may alter."""
    return jax.tree.map(np.asarray, jax.jit(module.init)(jax.random.key(1), x)["params"])


def ids(*texts):
    return jnp.asarray([[*text, END] + [0] * (TEXT.context - 1 - len(text)) for text in texts])


def test_what_follows_the_end_changes_nothing(network, encode):
    texts = ids((1, 2, 3), (4, 5, 6, 7, 8))
    features = encode(network.params, texts)
    after = jnp.arange(TEXT.context)[None] > jnp.argmax(texts, axis=1)[:, None]
    np.testing.assert_array_equal(encode(network.params, jnp.where(after, 17, texts)), features)
    short = encode(network.params, texts[:, :6])
    np.testing.assert_allclose(short, features, rtol=1e-4, atol=1e-5)


def test_what_precedes_the_end_counts_and_its_order_too(network, encode):
    features = encode(network.params, ids((1, 2, 3), (1, 2, 4), (2, 1, 3), (1, 2)))
    apart = jnp.linalg.norm(features[:, None] - features[None], axis=-1) + jnp.eye(4)
    assert float(apart.min()) > 0.1


def test_a_token_sees_none_that_come_later(network):
    def states(texts):
        return apply(network.module, network.params, texts, lambda module, ids: module.text.states(ids))

    first, second = (states(ids(text)) for text in ((1, 2, 3, 4, 5), (1, 2, 3, 9, 5)))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before[:, :3], after[:, :3])
        assert float(jnp.abs(before - after)[:, 3].max()) > 0.01
    assert len(first) == TEXT.layers + 1


def test_tokens_are_the_patches_row_by_row(network):
    images = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
    changed = images.at[:, 4:8, 8:12].add(1.0)  # row 1, column 2 of four

    def states(images):
        return apply(network.module, network.params, images, lambda module, x: module.vision.states(x))

    before, after = states(images), states(changed)
    differs = np.abs(np.asarray(before[0] - after[0])).max(axis=(0, 2)) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(differs), [1 + 1 * 4 + 2])
    assert before[0].shape == (1, 17, 64) and (jnp.abs(before[1] - after[1]).max(axis=(0, 2)) > 0).all()


def test_logits_are_scaled_cosines(network, encode):
    params = network.params
    images = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
    texts = ids((1, 2), (3,))
    logits = np.asarray(jax.jit(network.logits)(params, images, texts))
    of_images, of_texts = jax.jit(network.encode_image)(params, images), encode(params, texts)
    np.testing.assert_allclose(jnp.linalg.norm(directions(of_images), axis=1), 1, rtol=1e-6)
    for i, image in enumerate(np.asarray(of_images, np.float64)):
        for j, text in enumerate(np.asarray(of_texts, np.float64)):
            cosine = image @ text / np.sqrt((image @ image) * (text @ text))
            np.testing.assert_allclose(logits[i, j], cosine / 0.07, rtol=1e-4, atol=1e-4)


def test_inputs_of_another_size_are_refused(network):
    with pytest.raises(InputError, match=r"\(20, 16, 3\) where \(16, 16, 3\) is expected"):
        network.encode_image(network.params, jnp.zeros((1, 20, 16, 3)))
    with pytest.raises(InputError, match="at most 12 tokens, not 13"):
        network.encode_text(network.params, np.zeros((1, 13), np.int32))


def test_quick_gelu_lies_near_the_exact_one_and_is_not_it():
    x = jnp.linspace(-5, 5, 101)[None, None]
    apart = jnp.abs(quick_gelu(x) - jax.nn.gelu(x, approximate=False))
    np.testing.assert_allclose(apart.max(), 0.0203, atol=2e-4)  # the known largest error of x sigmoid(1.702 x)
    np.testing.assert_allclose(quick_gelu(x)[..., 60], 1 / (1 + np.exp(-1.702)), rtol=1e-6)


def test_a_layer_norm_has_pytorchs_epsilon():
    x = jnp.asarray([[[1e-3, -1e-3, 1e-3, -1e-3]]])
    found = layer_norm().apply({"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}, x)
    np.testing.assert_allclose(found, x / np.sqrt(1e-6 + 1e-5), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mask_hides_keys(x64, dtype):
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (2, n, 2, 4), dtype) for key, n in zip(keys, (3, 5, 5), strict=True))
    mask = jnp.broadcast_to(jnp.arange(5) < 3, (1, 1, 3, 5))
    seen = attend(q, k, v, mask)
    assert seen.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(seen, attend(q, k[:, :3], v[:, :3]), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(attend(q, k, v, mask | True), attend(q, k, v), rtol=tolerance, atol=tolerance)


def test_a_unit_is_its_convolution_normalised():
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 5), np.float32)
    params = init(Unit(4, 3), x)
    bare = apply(Unit(4, 3), params | {"var": np.full(4, 1 - 1e-5, np.float32)}, x)
    rng = np.random.default_rng(1)
    moments = {name: rng.uniform(0.5, 2, 4).astype(np.float32) for name in ("scale", "bias", "mean", "var")}
    expected = (np.asarray(bare) - moments["mean"]) / np.sqrt(moments["var"] + 1e-5) * moments["scale"] + moments[
        "bias"
    ]
    np.testing.assert_allclose(apply(Unit(4, 3), params | moments, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("halve", "channels"), [(False, 4), (True, 4), (False, 8)])
def test_a_block_without_its_last_norm_is_its_shortcut(halve, channels):
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 16), np.float32)
    block = Bottleneck(channels, halve)
    params = init(block, x)
    params["conv_3"]["scale"] = np.zeros(4 * channels, np.float32)
    expected = x.reshape(2, 2, 2, 2, 2, 16).mean(axis=(2, 4)) if halve else x
    assert ("skip" in params) == (halve or channels == 8)
    if "skip" in params:
        expected = expected @ params["skip"]["kernel"][0, 0] / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(apply(block, params, x), np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def test_pooling_by_attention_weighs_all_positions_and_their_mean():
    x = np.random.default_rng(0).standard_normal((1, 2, 2, 128), np.float32)
    pool = AttentionPool(6)
    params = init(pool, x)
    params["position"] = np.zeros_like(params["position"])

    def through(x):
        for name in ("value", "out"):
            x = x @ params[name]["kernel"] + params[name]["bias"]
        return x

    one_colour = np.broadcast_to(x[:, :1, :1], x.shape)
    np.testing.assert_allclose(apply(pool, params, one_colour), through(x[:, 0, 0]), rtol=1e-4, atol=1e-5)
    assert np.abs(apply(pool, params, x) - through(x.mean(axis=(1, 2)))).max() > 1e-3
    params["query"]["kernel"] = np.zeros_like(params["query"]["kernel"])  # all weights alike
    np.testing.assert_allclose(apply(pool, params, x), through(x.mean(axis=(1, 2))), rtol=1e-4, atol=1e-5)


def test_a_residual_network_halves_five_times():
    network = ModifiedResNet(image_size=64, width=4, layers=(1, 1, 1, 1), features=8)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    assert shapes["pool"]["position"].shape == ((64 // 32) ** 2 + 1, 32 * 4)
    assert shapes["level_3_block_0"]["conv_3"]["kernel"].shape == (1, 1, 32, 128)
