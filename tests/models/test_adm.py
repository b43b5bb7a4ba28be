"""ADM's networks: their own promises; that they equal the originals is for the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ddpm import randomised

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import attend_fused
from score_jax.models.blocks.embeddings import sinusoidal, sinusoidal_cos_first
from score_jax.models.classifiers.adm_classifier import POOLS, ADMClassifier
from score_jax.models.unets.adm import ADM

TINY = dict(channels=32, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(4,), dropout=0.1, num_heads=2)
X, LABEL = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([0.0, 900.0])
Y = jnp.array([1, 3])


@pytest.mark.slow
def test_starts_as_zero_with_twice_the_channels_for_a_learned_variance():
    for learn_sigma in (True, False):
        net = ADM(**TINY, learn_sigma=learn_sigma)
        y = net.apply(net.init(jax.random.key(0), X, LABEL), X, LABEL)
        assert y.shape == (2, 8, 8, 6 if learn_sigma else 3) and (y == 0).all()


def test_conditions_change_the_output_and_are_asked_for():
    net = ADM(**TINY, num_classes=5, super_resolution=True, resblock_updown=True)
    low_res = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    params = {"params": _params(net, low_res)}
    apply = jax.jit(lambda label, low_res: net.apply(params, X, LABEL, label=label, low_res=low_res))
    base = apply(Y, low_res)
    assert np.abs(apply(Y[::-1], low_res) - base).max() > 1e-3
    assert np.abs(apply(Y, 2 * low_res) - base).max() > 1e-3
    with pytest.raises(InputError, match="takes a condition 'label'"):
        net.apply(params, X, LABEL, low_res=low_res)
    with pytest.raises(InputError, match="takes no condition 'low_res'"):
        ADM(**TINY).init(jax.random.key(0), X, LABEL, low_res=low_res)


def _params(net, low_res):
    params = net.init(jax.random.key(0), X, LABEL, label=Y, low_res=low_res)["params"]
    return jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)


def test_low_resolution_images_are_resized_between_pixel_centres():
    """Doubling (0, 1) gives (0, 1/4, 3/4, 1): PyTorch's bilinear with align_corners=False."""
    low = jnp.array([0.0, 1.0])[None, :, None, None]
    doubled = jax.image.resize(jnp.broadcast_to(low, (1, 2, 2, 1)), (1, 4, 4, 1), "linear", antialias=False)
    np.testing.assert_allclose(doubled[0, :, 0, 0], [0, 0.25, 0.75, 1], atol=1e-6)


@pytest.mark.parametrize(("layout", "axis"), [("legacy", -2), ("new", -3)])
def test_layouts_of_queries_keys_and_values(layout, axis):
    """Attention over one position returns its values, wherever the layout says that they are."""
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 1, 4, 8))  # (qkv, b, n, heads, d)
    fused = jnp.stack([q, k, v], axis=axis).reshape(2, 1, 96)
    np.testing.assert_allclose(attend_fused(fused, 4, layout), v.reshape(2, 1, 32), rtol=1e-5)


def test_the_two_sinusoidal_embeddings():
    label = jnp.array([3.0])
    for embed, spacing, order in ((sinusoidal, 3, "sc"), (sinusoidal_cos_first, 4, "cs")):
        angles = 3.0 * 10000.0 ** (-np.arange(4) / spacing)
        parts = {"s": np.sin(angles), "c": np.cos(angles)}
        np.testing.assert_allclose(embed(label, 8)[0], np.concatenate([parts[o] for o in order]), rtol=1e-5, atol=1e-6)
        assert embed(label, 9).shape == (1, 9) and embed(label, 9)[0, -1] == 0


@pytest.mark.parametrize("pool", POOLS)
def test_classifier_heads(pool):
    net = ADMClassifier(**TINY, num_classes=7, pool=pool)
    params = {"params": randomised(net, X, LABEL)}
    logits = net.apply(params, X, LABEL)
    assert logits.shape == (2, 7)
    assert np.abs(net.apply(params, X, LABEL + 50) - logits).max() > 1e-4
    np.testing.assert_allclose(net.apply(params, X[:1], LABEL[:1]), logits[:1], rtol=1e-3, atol=1e-4)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="32 channels do not split into heads.*num_heads=5"):
        ADM(**TINY | {"num_heads": 5}).init(jax.random.key(0), X, LABEL)
    with pytest.raises(InputError, match="num_head_channels=64"):
        ADM(**TINY, num_head_channels=64).init(jax.random.key(0), X, LABEL)
    with pytest.raises(InputError, match="Did you mean 'legacy'"):
        ADM(**TINY, qkv_layout="legcy").init(jax.random.key(0), X, LABEL)


def test_bfloat16_stays_near_float32():
    net, half = ADM(**TINY), ADM(**TINY, dtype=jnp.bfloat16)
    params = {"params": randomised(net, X, LABEL)}
    y, y_half = net.apply(params, X, LABEL), half.apply(params, X, LABEL)
    assert y_half.dtype == jnp.float32
    assert 0 < np.abs(y - y_half).max() < 0.05 * np.abs(y).max()
