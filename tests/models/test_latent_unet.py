"""Latent diffusion's UNet: published sizes, epsilons and what it makes of a context; its numbers: the parity files."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.spatial_transformer import GEGLU, CrossAttention, SpatialTransformer
from score_jax.models.conditions import Condition
from score_jax.models.unets.latent import LatentUNet

TINY = LatentUNet(32, (1, 1), 1, (2,), num_heads=2, context_width=6, context_length=3)
X, LABEL = jax.random.normal(jax.random.key(0), (2, 8, 8, 4)), jnp.array([0.0, 900.0])
CONTEXT = jax.random.normal(jax.random.key(1), (2, 3, 6))

_SD = dict(channels=320, channel_mult=(1, 2, 4, 4), attention_factors=(4, 2, 1))
# Counts of the originals, instantiated from their configs; channels of x, then the network's settings.
PUBLISHED = {
    "celebahq": (274_056_163, 3, dict(channels=224, channel_mult=(1, 2, 3, 4), num_head_channels=32)),
    "churches": (
        294_966_916,
        4,
        dict(
            channels=192,
            channel_mult=(1, 2, 2, 4, 4),
            attention_factors=(1, 2, 4, 8),
            scale_shift_norm=True,
            resblock_updown=True,
        ),
    ),
    "cin": (
        394_984_196,
        4,
        dict(
            channels=256,
            channel_mult=(1, 2, 4),
            attention_factors=(4, 2, 1),
            num_head_channels=32,
            context_width=512,
        ),
    ),
    "cin256-v2": (400_920_579, 3, dict(channels=192, channel_mult=(1, 2, 3, 5), num_heads=1, context_width=512)),
    "txt2img": (872_300_484, 4, _SD | dict(context_width=1280)),
    "text2img256": (
        403_623_939,
        3,
        dict(channels=192, channel_mult=(1, 2, 3, 5), num_head_channels=32, context_width=640),
    ),
    "layout": (
        246_277_379,
        3,
        dict(channels=128, channel_mult=(1, 2, 3, 4), num_head_channels=32, context_width=512, transformer_depth=3),
    ),
    "semantic": (
        215_229_315,
        3,
        dict(channels=128, channel_mult=(1, 4, 8), attention_factors=(32, 16, 8), concat_channels=3),
    ),
    "inpainting": (
        387_245_827,
        3,
        dict(channels=256, channel_mult=(1, 2, 3, 4), resblock_updown=True, concat_channels=4),
    ),
    "super-resolution": (
        113_622_563,
        3,
        dict(
            channels=160,
            channel_mult=(1, 2, 2, 4),
            attention_factors=(16, 8),
            num_head_channels=32,
            concat_channels=3,
        ),
    ),
    "retrieval": (
        1_335_480_400,
        16,
        dict(
            channels=448,
            channel_mult=(1, 2, 3, 4),
            attention_factors=(4, 2, 1),
            num_head_channels=32,
            context_width=768,
        ),
    ),
    "stable-diffusion-1": (859_520_964, 4, _SD | dict(context_width=768)),
    "stable-diffusion-2": (
        865_910_724,
        4,
        _SD | dict(context_width=1024, num_head_channels=64, linear_projection=True),
    ),
    "stable-diffusion-1-inpainting": (859_535_364, 4, _SD | dict(context_width=768, concat_channels=5)),
}


def published(name):
    """A network of the table, and its parameters' shapes."""
    _, in_channels, settings = PUBLISHED[name]
    network = LatentUNet(**{"num_res_blocks": 2, "attention_factors": (8, 4, 2)} | settings)
    return network, shapes(network, (64, 64, in_channels))


def shapes(network, image_shape):
    """Of the parameters, without making any."""
    declared = network.conditions(image_shape)
    conditions = {name: jax.ShapeDtypeStruct((1, *each.shape), each.dtype) for name, each in declared.items()}
    x = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return shapes_of(network, x, jax.ShapeDtypeStruct((1,), jnp.float32), **conditions)


def shapes_of(module, *args, **kwargs):
    """Of a module's parameters for such inputs."""
    return jax.eval_shape(module.init, jax.random.key(0), *args, **kwargs)["params"]


def filled(shapes):
    """Parameters of these shapes without the zeros of the initialisation, which would hide what is behind them."""
    rng = np.random.default_rng(0)

    def leaf(path, shape):
        n = rng.standard_normal(shape.shape, np.float32)
        name = path[-1].key
        return n / math.sqrt(math.prod(shape.shape[:-1])) if name == "kernel" else 0.1 * n + (name == "scale")

    return jax.tree_util.tree_map_with_path(leaf, shapes)


_FEW = ("churches", "semantic", "stable-diffusion-2")


@pytest.mark.parametrize(
    "name", [name if name in _FEW else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED]
)
def test_published_networks_have_their_sizes(name):
    count, in_channels, settings = PUBLISHED[name]
    _, params = published(name)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count
    assert params["conv_in"]["kernel"].shape[2] == in_channels + settings.get("concat_channels", 0)
    assert params["conv_out"]["kernel"].shape[3] == in_channels


def norms(module, *args, **kwargs):
    """Every norm of a module, by its path."""
    found = {}

    def note(call, args, kwargs, context):
        if isinstance(context.module, GroupNorm | nn.LayerNorm) and context.method_name == "__call__":
            found["/".join(context.module.path)] = context.module
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **kwargs))
    return found


def test_each_kind_of_norm_has_its_epsilon():
    """Of residual blocks 1e-5, of a transformer's image 1e-6, of its tokens 1e-5: float32 does not tell them apart."""
    for context_width, attention in ((6, {"norm": 1e-6}), (None, {"norm": 1e-5})):
        network = TINY.clone(context_width=context_width, parent=None)
        found = norms(network, X, LABEL, **({} if context_width is None else {"context": CONTEXT}))
        tokens = {path: each for path, each in found.items() if isinstance(each, nn.LayerNorm)}
        pixels = {path: each for path, each in found.items() if isinstance(each, GroupNorm)}
        assert {each.groups for each in pixels.values()} == {32}
        assert len(tokens) == (0 if context_width is None else 3 * 4)
        assert {each.epsilon for each in tokens.values()} <= {1e-5}
        for path, each in pixels.items():
            module, *_ = path.split("/")
            assert each.epsilon == (attention["norm"] if "attention" in module else 1e-5), path
        assert sum("attention" in path for path in pixels) == 4 and "norm_out" in pixels


@pytest.mark.parametrize("context_width", [6, None])
def test_all_norms_of_pixels_have_the_groups_that_are_asked_for(context_width):
    network = TINY.clone(context_width=context_width, norm_groups=8, parent=None)
    found = norms(network, X, LABEL, **({} if context_width is None else {"context": CONTEXT}))
    assert {each.groups for each in found.values() if isinstance(each, GroupNorm)} == {8}


@pytest.fixture(scope="module")
def params():
    return {"params": filled(shapes(TINY, (8, 8, 4)))}


@pytest.fixture(scope="module")
def apply(params):
    return jax.jit(lambda x, context: TINY.apply(params, x, LABEL, context=context))


def test_it_starts_as_zero_and_its_blocks_as_the_identity():
    def last_layers():
        params = TINY.init(jax.random.key(0), X, LABEL, context=CONTEXT)["params"]
        leaves = {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        return {path: leaf for path, leaf in leaves.items() if path[-2] in ("conv_out", "proj_out", "conv_2")}

    found = jax.jit(last_layers)()
    assert len(found) == 2 * (1 + 4 + 8) and not any(leaf.any() for leaf in found.values())


def test_a_context_is_a_set_of_tokens(apply):
    y = apply(X, CONTEXT)
    scale = np.abs(y).max()
    np.testing.assert_allclose(apply(X, CONTEXT[:, ::-1]), y, atol=1e-4 * scale)
    changed = np.abs(apply(X, CONTEXT.at[0].multiply(2.0)) - y).max(axis=(1, 2, 3))
    assert changed[0] > 1e-3 * scale and changed[1] == 0


def test_it_takes_any_size_and_any_number_of_tokens(params):
    x, context = jax.ShapeDtypeStruct((2, 16, 24, 4), jnp.float32), jax.ShapeDtypeStruct((2, 5, 6), jnp.float32)
    y = jax.eval_shape(lambda x, context: TINY.apply(params, x, LABEL, context=context), x, context)
    assert y.shape == x.shape


@pytest.mark.parametrize(("factors", "attending"), [((2,), {1}), ((1, 2), {0, 1}), ((4, 3), set())])
def test_attention_follows_the_level_and_not_the_height(factors, attending):
    found = shapes(TINY.clone(attention_factors=factors, parent=None), (16, 16, 4))
    with_attention = {name for name in found if "attention" in name}
    assert {int(name.split("_")[1]) for name in with_attention - {"middle_attention"}} == attending
    assert "middle_attention" in with_attention


def test_conditions_are_declared():
    network = TINY.clone(num_classes=7, concat_channels=5, parent=None)
    declared = network.conditions((8, 16, 4))
    assert {name: each.shape for name, each in declared.items()} == {
        "label": (),
        "context": (3, 6),
        "concat": (8, 16, 5),
    }
    assert isinstance(declared["label"], Condition) and declared["label"].null == 6
    assert TINY.clone(context_width=None, parent=None).conditions((8, 8, 4)) == {}


def test_a_class_and_an_image_beside_x():
    network = LatentUNet(32, (1, 1), 1, (), num_classes=7, concat_channels=2, out_channels=3, scale_shift_norm=True)
    concat, y = jax.random.normal(jax.random.key(2), (2, 8, 8, 2)), jnp.array([1, 3])
    params = filled(shapes(network, (8, 8, 4)))
    apply = jax.jit(lambda params, y, concat: network.apply({"params": params}, X, LABEL, label=y, concat=concat))
    base = apply(params, y, concat)
    assert base.shape == (2, 8, 8, 3)
    assert np.abs(apply(params, y[::-1], concat) - base).max() > 1e-3
    assert np.abs(apply(params, y, 2 * concat) - base).max() > 1e-3
    params["conv_in"]["kernel"][:, :, 4:] = 0  # the channels after those of x
    np.testing.assert_array_equal(apply(params, y, 2 * concat), apply(params, y, concat))


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {}, "takes a condition 'context'"),
        ({"context_width": None}, {"context": CONTEXT}, "takes no condition 'context'"),
        ({"context_width": 0}, {"context": CONTEXT}, "takes no condition 'context'"),
        ({}, {"context": CONTEXT[..., :4]}, "has 4 channels where network.context_width is 6"),
        ({}, {"context": CONTEXT, "label": jnp.array([1, 3])}, "takes no condition 'label'"),
        ({"num_classes": 3}, {"context": CONTEXT}, "takes a condition 'label'"),
        ({"concat_channels": 4}, {"context": CONTEXT}, "takes a condition 'concat'"),
        ({"concat_channels": 4}, {"context": CONTEXT, "concat": X[:, :4]}, r"\(2, 4, 8, 4\) where \(2, 8, 8, 4\) is"),
        ({"channel_mult": (1, 1, 1, 1, 1)}, {"context": CONTEXT}, "divisible by 16"),
        ({"num_heads": 5}, {"context": CONTEXT}, "32 channels do not split into heads"),
        ({"norm_groups": 24}, {"context": CONTEXT}, r"\[32, 32\] channels do not split into network.norm_groups=24"),
    ],
)
def test_what_does_not_fit_is_one_line(settings, given, message):
    with pytest.raises(InputError, match=message) as error:
        jax.eval_shape(lambda: TINY.clone(**settings, parent=None).init(jax.random.key(0), X, LABEL, **given))
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_recomputed_blocks_and_bfloat16_stay_near(params, apply):
    y = apply(X, CONTEXT)

    def of(**settings):
        network = TINY.clone(**settings, parent=None)
        return jax.jit(lambda x: network.apply(params, x, LABEL, context=CONTEXT))(X)

    np.testing.assert_allclose(of(remat=("residual", "attention")), y, rtol=1e-5, atol=1e-5)
    half = of(dtype=jnp.bfloat16)
    assert half.dtype == jnp.float32 and 0 < np.abs(half - y).max() < 0.05 * np.abs(y).max()


def test_a_transformer_sees_pixels_in_no_order_and_is_added_to_them():
    x = jax.random.normal(jax.random.key(0), (1, 2, 4, 32))
    transformer = SpatialTransformer(heads=2)
    params = filled(shapes_of(transformer, x))
    assert params["block_0"]["attention_2"]["key"]["kernel"].shape == (32, 32)
    apply = jax.jit(lambda params, x: transformer.apply({"params": params}, x))
    turned = apply(params, x.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(apply(params, x), turned, atol=1e-4)
    params["proj_out"] = jax.tree.map(np.zeros_like, params["proj_out"])
    np.testing.assert_array_equal(apply(params, x), x)


def test_without_a_context_tokens_attend_to_each_other():
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    attention = CrossAttention(heads=2, head_width=3)
    params = {"params": filled(shapes_of(attention, x))}
    np.testing.assert_array_equal(attention.apply(params, x), attention.apply(params, x, x))
    assert params["params"]["query"]["kernel"].shape == (8, 6) and "bias" not in params["params"]["query"]


def test_one_token_of_context_is_its_value_for_all():
    x, context = jax.random.normal(jax.random.key(0), (2, 5, 8)), jax.random.normal(jax.random.key(1), (2, 1, 4))
    attention = CrossAttention(heads=2, head_width=3)
    params = {"params": filled(shapes_of(attention, x, context))}
    out, value = params["params"]["out"], params["params"]["value"]["kernel"]
    expected = context @ value @ out["kernel"] + out["bias"][None, None]
    np.testing.assert_allclose(attention.apply(params, x, context), jnp.tile(expected, (1, 5, 1)), rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_kept_are_not_seen_and_see_all_alike():
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    keep = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]], bool)
    attention = CrossAttention(heads=2, head_width=3)
    params = {"params": filled(shapes_of(attention, x))}
    found = attention.apply(params, x, keep=keep)
    np.testing.assert_allclose(found[:, :3], attention.apply(params, x[:, :3]), rtol=1e-4, atol=1e-5)
    mean = attention.apply(params, x.mean(axis=1, keepdims=True))  # of one token: the value of the mean
    np.testing.assert_allclose(found[:, 3:], jnp.tile(mean, (1, 2, 1)), rtol=1e-4, atol=1e-5)


def test_a_gated_layer_has_its_value_first_and_the_exact_gelu():
    x = jnp.array([[[-1.5, 0.5]]])
    hidden = np.zeros((2, 16), np.float32)
    hidden[0, 0], hidden[1, 8] = 1.0, 1.0  # value x_0, gate x_1
    out = np.zeros((8, 2), np.float32)
    out[0, 1] = 1.0
    params = {
        "hidden": {"kernel": hidden, "bias": np.zeros(16, np.float32)},
        "out": {"kernel": out, "bias": np.zeros(2, np.float32)},
    }
    gelu = 0.5 * 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))
    np.testing.assert_allclose(GEGLU().apply({"params": params}, x)[0, 0], [0.0, -1.5 * gelu], rtol=1e-6)
