"""The walk of a UNet: its skips, and a context that reaches ADM's blocks by an argument."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from score_jax.models.blocks.adm_blocks import Blocks, embed
from score_jax.models.blocks.unet_walk import UNetBlocks, followed_by, middle, walk_down, walk_up

WIDTHS = (32, 64)


def named_blocks(seen):
    """Blocks that only write down what they are asked for."""

    def residual(h, channels, name):
        seen.append(name)
        return jnp.zeros((*h.shape[:-1], channels))

    def attend(h, name):
        seen.append(name)
        return h

    return UNetBlocks(
        followed_by(residual, attend), lambda h, name: h[:, ::2, ::2], lambda h, name: jnp.repeat(h, 2, axis=1)
    )


def test_every_block_is_asked_for_once_and_in_order():
    seen = []
    blocks = named_blocks(seen)
    skips = walk_down(blocks, jnp.zeros((1, 8, 8, 3)), WIDTHS, 2, (4,))
    assert [skip.shape[1] for skip in skips] == [8, 8, 8, 4, 4, 4]
    assert [skip.shape[-1] for skip in skips] == [3, 32, 32, 32, 64, 64]
    down = ["down_0_block_0", "down_0_block_1"]
    down += ["down_1_block_0", "down_1_attention_0", "down_1_block_1", "down_1_attention_1"]
    assert seen == down
    seen.clear()
    assert middle(blocks, skips[-1]).shape[-1] == 64
    assert seen == ["middle_block_0", "middle_attention", "middle_block_1"]


def test_the_way_up_takes_each_skip_once():
    taken = []
    blocks = named_blocks([])
    skips = walk_down(blocks, jnp.zeros((1, 8, 1, 3)), WIDTHS, 2, ())
    watched = dataclasses.replace(
        blocks,
        block=lambda h, channels, *names: taken.append(h.shape[-1]) or jnp.zeros((*h.shape[:-1], channels)),
    )
    assert walk_up(watched, skips[-1], skips, WIDTHS, 2, ()).shape == (1, 8, 1, 32)
    assert taken == [64 + 64, 64 + 64, 64 + 32, 64 + 32, 32 + 32, 32 + 3]
    assert len(skips) == 6  # the caller's stay


class WithContext(nn.Module):
    """ADM's blocks, whose attention also sees tokens."""

    @nn.compact
    def __call__(self, x, time_label, *, context):
        blocks = Blocks(0.0, True, False, True, 2, None, "legacy", (), None)

        def attend(h, name):
            tokens = nn.Dense(h.shape[-1], name=f"{name}_tokens")(context)
            pixels = h.reshape(len(h), -1, h.shape[-1])
            seen = nn.MultiHeadDotProductAttention(2, name=f"{name}_context")(pixels, tokens)
            return blocks.attention(h + seen.reshape(h.shape), name)

        unet = blocks.in_unet(nn.swish(embed(time_label, 32)), False, attend)
        h = nn.Conv(32, (3, 3), name="conv_in")(x)
        skips = walk_down(unet, h, WIDTHS, 1, (4,))
        return walk_up(unet, middle(unet, skips[-1]), skips, WIDTHS, 1, (4,))


def test_a_context_is_added_by_an_argument():
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 1)), jnp.ones(2)
    context = jax.random.normal(jax.random.key(1), (2, 5, 7))
    params = jax.jit(WithContext().init)(jax.random.key(2), x, t, context=context)
    noisy = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(3), leaf.shape), params)
    apply = jax.jit(lambda context: WithContext().apply(noisy, x, t, context=context))
    before, after = apply(context), apply(context.at[0, 0].add(1.0))
    assert np.abs(after[0] - before[0]).max() > 1e-4
    np.testing.assert_array_equal(after[1], before[1])
    assert {name for name in params["params"] if name.endswith("_context")} == {
        *(f"{way}_1_attention_0_context" for way in ("down", "up")),
        "up_1_attention_1_context",
        "middle_attention_context",
    }
