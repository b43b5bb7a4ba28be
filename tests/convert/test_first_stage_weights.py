"""Weights of first stages and discriminators under their published names: how many, there, and back."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.convert.first_stage import DISCRIMINATOR_BUFFERS, discriminator_table, table
from score_jax.errors import InputError
from score_jax.models.autoencoders.autoencoder import AutoencoderKL, AutoencoderVQ
from score_jax.models.discriminators.patch import PatchDiscriminator

PUBLISHED = {
    "vq-f4": (AutoencoderVQ((1, 2, 4), 3, 3), 55_322_782),
    "vq-f4-noattn": (AutoencoderVQ((1, 2, 4), 3, 3, middle_attention=False), 53_219_486),
    "vq-f8": (AutoencoderVQ((1, 2, 2, 4), 4, 4, attention_factors=(8,), codebook_size=16384), 67_717_295),
    "vq-f8-n256": (AutoencoderVQ((1, 2, 2, 4), 4, 4, attention_factors=(8,), codebook_size=256), 67_652_783),
    "vq-f16": (AutoencoderVQ((1, 1, 2, 2, 4), 8, 8, attention_factors=(16,), codebook_size=16384), 69_593_371),
    "kl-f4": (AutoencoderKL((1, 2, 4), 3, 3), 55_312_063),
    "kl-f8": (AutoencoderKL((1, 2, 4, 4), 4, 4), 83_653_863),
    "kl-f16": (AutoencoderKL((1, 1, 2, 2, 4), 16, 16, attention_factors=(16,)), 69_610_963),
    "kl-f32": (AutoencoderKL((1, 1, 2, 2, 4, 4), 64, 64, attention_factors=(16, 32)), 103_880_131),
}
TINY = dict(channel_mult=(1, 2), latent_channels=4, embed_channels=3, channels=32, num_res_blocks=1)


def shapes_of(network, *args):
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    return jax.eval_shape(lambda key, x: network.init(key, x, *args), jax.random.key(0), images)


def filled(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)


def count(shapes):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_first_stages_have_their_sizes(name):
    network, parameters = PUBLISHED[name]
    shapes = shapes_of(network)["params"]
    assert count(shapes) == parameters
    names = {table(tuple(key.key for key in path)).name for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
    assert len(names) == len(jax.tree.leaves(shapes))
    if name == "kl-f8":
        assert len(names) == 248  # as in the files of Stable Diffusion


@pytest.mark.parametrize(("num_layers", "parameters"), [(3, 2_765_633), (2, 663_361)])
def test_published_discriminators_have_their_sizes(num_layers, parameters):
    assert count(shapes_of(PatchDiscriminator(num_layers=num_layers), True)["params"]) == parameters


@pytest.mark.parametrize(
    "network",
    [
        AutoencoderKL(**TINY, attention_factors=(1,)),
        AutoencoderVQ(**TINY, attention_factors=(2,), codebook_size=7),
        AutoencoderVQ(**TINY, middle_attention=False, resample_with_conv=False, codebook_size=7),
    ],
)
def test_there_and_back_is_the_identity(network):
    shapes = shapes_of(network)["params"]
    params = filled(shapes)
    state = to_theirs(params, table)
    jax.tree.map(np.testing.assert_array_equal, to_ours(state, shapes, table), params)
    back = to_theirs(to_ours(state, shapes, table), table)
    assert back.keys() == state.keys()
    assert all((back[name] == state[name]).all() for name in state)


def test_names_and_layouts_are_the_published_ones():
    shapes = shapes_of(AutoencoderVQ(**TINY, attention_factors=(2,), codebook_size=7))["params"]
    state = to_theirs(filled(shapes), table)
    block = {f"{layer}.{leaf}" for layer in ("norm1", "conv1", "norm2", "conv2") for leaf in ("weight", "bias")}
    attention = {f"{layer}.{leaf}" for layer in ("norm", "q", "k", "v", "proj_out") for leaf in ("weight", "bias")}
    assert {name for name in state if name.startswith("encoder.down.0.block.0.")} == {
        f"encoder.down.0.block.0.{name}" for name in block
    }
    wider = block | {"nin_shortcut.weight", "nin_shortcut.bias"}
    assert {name for name in state if name.startswith("encoder.down.1.block.0.")} == {
        f"encoder.down.1.block.0.{name}" for name in wider
    }
    for place in ("encoder.down.1.attn.0", "decoder.up.1.attn.0", "decoder.up.1.attn.1", "decoder.mid.attn_1"):
        assert {name for name in state if name.startswith(f"{place}.")} == {f"{place}.{name}" for name in attention}
    expected = {
        "encoder.conv_in.weight": (32, 3, 3, 3),
        "encoder.down.0.downsample.conv.weight": (32, 32, 3, 3),
        "encoder.down.1.attn.0.q.weight": (64, 64, 1, 1),
        "encoder.mid.block_1.conv1.weight": (64, 64, 3, 3),
        "encoder.norm_out.weight": (64,),
        "encoder.conv_out.weight": (4, 64, 3, 3),
        "quant_conv.weight": (3, 4, 1, 1),
        "quantize.embedding.weight": (7, 3),
        "post_quant_conv.weight": (4, 3, 1, 1),
        "decoder.conv_in.weight": (64, 4, 3, 3),
        "decoder.up.1.upsample.conv.weight": (64, 64, 3, 3),
        "decoder.up.0.block.0.nin_shortcut.weight": (32, 64, 1, 1),
        "decoder.conv_out.weight": (3, 32, 3, 3),
    }
    assert {name: state[name].shape for name in expected} == expected
    with pytest.raises(KeyError, match="up_0_other"):
        table(("decoder", "up_0_other", "kernel"))


def test_discriminators_go_there_and_back_with_their_running_statistics():
    network = PatchDiscriminator(4, 2)
    shapes = shapes_of(network, True)
    variables, names = filled(shapes), discriminator_table(network)
    state = to_theirs(variables, names)
    norms = {f"main.{k}.{leaf}" for k in (3, 6) for leaf in ("weight", "bias", "running_mean", "running_var")}
    plain = {"main.0.weight", "main.0.bias", "main.2.weight", "main.5.weight", "main.8.weight", "main.8.bias"}
    assert set(state) == norms | plain and state["main.5.weight"].shape == (16, 8, 4, 4)
    counted = state | {"main.3.num_batches_tracked": np.int64(9), "main.6.num_batches_tracked": np.int64(9)}
    back = to_ours(counted, shapes, names, buffers=DISCRIMINATOR_BUFFERS)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    with pytest.raises(InputError, match="1 missing: main.6.running_var"):
        to_ours({name: a for name, a in state.items() if name != "main.6.running_var"}, shapes, names)
