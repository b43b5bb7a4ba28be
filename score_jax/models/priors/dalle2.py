"""The diffusion prior of unCLIP (Ramesh et al. 2022, section 2.2.2) as lucidrains' DALLE2-pytorch has it.

Embeddings of images are x0 here, as images of one pixel: every process, sampler and likelihood takes them as they are.
The original multiplies unit embeddings by sqrt d before it adds noise. Its self-conditioning, and its transformer
without the last norm or matrix or with a norm before the first block, are left out.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Bool, Float

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.embeddings import sinusoidal
from score_jax.models.blocks.initializers import fan_in_uniform
from score_jax.models.blocks.token_positions import DistanceBias, rotary_frequencies, rotate
from score_jax.models.conditions import DeclaredConditions, of_text
from score_jax.typing import Image, KeyArray, Time

COSINE_SCALE = 16.0
"""By which attention multiplies the cosine of a query and a key."""
MOST_ROTATED = 32
"""Channels of a head."""
Tokens = Float[Array, "b n channels"]


def _geometric(key: KeyArray, count: int) -> Float[Array, "{count}"]:
    return jnp.asarray(rotary_frequencies(count), jnp.float32)


def gain_norm(name: str) -> nn.LayerNorm:
    """A layer norm without a bias; epsilon 1e-5, which the original has in float32 (1e-3 in other dtypes)."""
    return nn.LayerNorm(epsilon=1e-5, use_bias=False, use_fast_variance=False, name=name)


def matrix(features: int, name: str, dtype: Any = None) -> nn.Dense:
    """A layer without a bias, with PyTorch's initialisation."""
    return nn.Dense(features, use_bias=False, kernel_init=fan_in_uniform(1 / 3), dtype=dtype, name=name)


def unit(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Vectors divided by their lengths; one of length 0 stays 0."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-24))


def cosine_weights(
    q: Float[Array, "b n heads d"], k: Float[Array, "b m d"], bias: Float[Array, "1 heads n m"]
) -> Float[Array, "b heads n m"]:
    """Which share each query takes of each key: softmax of 16 cosines and the bias, at least in float32.

    Args:
      q: queries.
      k: keys, the same for all heads (Shazeer 2019, arXiv 1911.02150); the first m - n of them stand before the tokens.
      bias: added to the logits.

    Query i sees those before the tokens, and the tokens 0 to i.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    logits = COSINE_SCALE * jnp.einsum("bnhd,bmd->bhnm", unit(q.astype(wide)), unit(k.astype(wide))) + bias
    n, m = logits.shape[-2:]
    return jax.nn.softmax(jnp.where(np.tri(n, m, m - n, dtype=bool)[None, None], logits, -jnp.inf))


class MultiQueryAttention(nn.Module):
    """Causal attention of cosines, with one key and one value for all heads and with a learned pair to look away to.

    Attributes:
      heads: of the queries.
      head_width: channels of a head.
      dropout: rate of the weights.
      dtype: compute dtype.
    """

    heads: int
    head_width: int
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        bias: Float[Array, "1 {self.heads} n m"],
        frequencies: Float[Array, "f"] | None,
        train: bool = False,
    ) -> Tokens:
        """What tokens x (b, n, channels) gather, in the same shape, normalised before and after.

        Args:
          x: the tokens.
          bias: added to the logits of n queries and n + 1 keys, of which the learned one is the first.
          frequencies: of `rotate`, for queries and keys but the learned key; None: nothing is rotated.
          train: whether weights are dropped.
        """
        normed = gain_norm("norm")(x)
        q = matrix(self.heads * self.head_width, "query", self.dtype)(normed)
        q = rearrange(q, "b n (heads d) -> b n heads d", heads=self.heads)
        k, v = jnp.split(matrix(2 * self.head_width, "key_value", self.dtype)(normed), 2, axis=-1)
        if frequencies is not None:
            q, k = rotate(q, frequencies), rotate(k[:, :, None], frequencies)[:, :, 0]
        nulls = self.param("null_key_value", nn.initializers.normal(1.0), (2, self.head_width), jnp.float32)
        k, v = (
            jnp.concatenate([jnp.broadcast_to(null[None, None].astype(each.dtype), each[:, :1].shape), each], axis=1)
            for null, each in zip(nulls, (k, v), strict=True)
        )
        weights = nn.Dropout(self.dropout, deterministic=not train)(cosine_weights(q, k, bias))
        gathered = jnp.einsum("bhnm,bmd->bnhd", weights.astype(v.dtype), v)
        out = matrix(x.shape[-1], "out", self.dtype)(rearrange(gathered, "b n heads d -> b n (heads d)"))
        return gain_norm("norm_out")(out)


class GatedLayers(nn.Module):
    """Two layers with a gated linear unit between: a silu(b), "SwiGLU" (Shazeer 2020, arXiv 2002.05202).

    Attributes:
      ratio: of the hidden layer's width to that of the tokens.
      normformer: normalise the hidden layer too (Shleifer et al. 2021, arXiv 2110.09456).
      dropout: rate of the hidden layer.
      dtype: compute dtype.
    """

    ratio: int = 4
    normformer: bool = False
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens, train: bool = False) -> Tokens:
        """Tokens x (b, n, channels), which are normalised first, to the same shape; a is the first half."""
        hidden = matrix(2 * self.ratio * x.shape[-1], "hidden", self.dtype)(gain_norm("norm")(x))
        value, gate = jnp.split(hidden, 2, axis=-1)
        h = value * nn.silu(gate)
        h = gain_norm("norm_hidden")(h) if self.normformer else h
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        return matrix(x.shape[-1], "out", self.dtype)(h)


class Dalle2Prior(nn.Module):
    """A causal transformer over a text, the time and x_t, whose last token becomes the prediction.

    The sequence is the text's tokens, the text's embedding, the time, x_t and a learned query. All have the channels of
    an embedding.

    What is not said has a learned token in its place. For the text's tokens that is one of each position: of those that
    `context_mask` leaves out, of those after the text's end, and of those that are exactly 0. A `text_embedding` of
    zeros is none. Where a text is not said at all, x_t is not told either: the original's guidance compares with that.

    Attributes:
      layers: blocks of attention and two gated layers.
      heads: of the attention.
      head_width: channels of a head.
      text_length: most tokens of a text.
      num_timesteps: levels that there are, each with a learned embedding; None: the time is embedded by sinusoids and
        three layers, and may be any number.
      time_tokens: how many the time has.
      image_tokens: how many x_t has; of one it is the token itself, of more they are projected from it.
      text_tokens: how many the text's embedding has, likewise.
      mlp_ratio: width of the gated layers over that of the tokens.
      normformer: normalise within the gated layers too.
      rotary: turn up to 32 channels of queries and keys by their position, beside the bias by distance.
      dropout: rate in attention and in the gated layers.
      dtype: compute dtype; parameters, norms, softmax and output stay float32.
    """

    layers: int
    heads: int = 8
    head_width: int = 64
    text_length: int = 256
    num_timesteps: int | None = None
    time_tokens: int = 1
    image_tokens: int = 1
    text_tokens: int = 1
    mlp_ratio: int = 4
    normformer: bool = False
    rotary: bool = True
    dropout: float = 0.0
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """What an encoder of texts says: its tokens, which of them are no padding, and the whole text's embedding."""
        return of_text(self.text_length, image_shape[-1], image_shape[-1], null=0.0)

    @nn.compact
    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        context: Float[Array, "b n _"],
        text_embedding: Float[Array, "b _"],
        context_mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
    ) -> Image:
        """(b, 1, 1, d) for x (b, 1, 1, d), the indices of its levels (b,), and the declared conditions.

        A context may have fewer tokens than `text_length`, or none; without a mask all tokens count.

        Raises:
          InputError: x has more than one pixel, the text is longer than `text_length`, or has other channels than x.
        """
        self._check_shapes(x, context, text_embedding)
        wide, (b, channels) = jnp.promote_types(x.dtype, jnp.float32), (len(x), x.shape[-1])
        said = jnp.any(context != 0, axis=-1)
        said = said if context_mask is None else said & context_mask
        has_embedding = jnp.any(text_embedding != 0, axis=-1)
        missing = self.text_length - context.shape[1]

        def learned(name: str, *shape: int) -> Float[Array, "..."]:
            return self.param(name, nn.initializers.normal(1.0), (*shape, channels), jnp.float32)

        def chosen(
            given: Bool[Array, "b _"], tokens: Tokens, null: Float[Array, "_ channels"]
        ) -> Float[Array, "b n channels"]:
            return jnp.where(given[:, :, None], tokens.astype(wide), null[None].astype(wide))

        tokens = [
            chosen(
                jnp.pad(said, ((0, 0), (0, missing))),
                jnp.pad(context, ((0, 0), (0, missing), (0, 0))),
                learned("null_context", self.text_length),
            ),
            chosen(
                has_embedding[:, None],
                self._tokens(text_embedding, self.text_tokens, "text_embedding"),
                learned("null_text_embedding", self.text_tokens),
            ),
            self._time(time_label.astype(wide), channels),
            chosen(
                (has_embedding | jnp.any(said, axis=1))[:, None],
                self._tokens(x[:, 0, 0], self.image_tokens, "image_embedding"),
                learned("null_image_embedding", 1),
            ),
            jnp.broadcast_to(learned("query")[None, None], (b, 1, channels)),
        ]
        h = self._transformed(jnp.concatenate([each.astype(wide) for each in tokens], axis=1), train)[:, -1]
        # The original's divisor keeps its sign: where no channel is positive, the prediction's sign turns.
        h = gain_norm("norm_out")(h / jax.lax.stop_gradient(jnp.max(h, axis=-1, keepdims=True)))
        return matrix(channels, "out")(h)[:, None, None].astype(wide)

    def _tokens(self, embedding: Float[Array, "b d"], count: int, name: str) -> Float[Array, "b {count} d"]:
        if count == 1:
            return embedding[:, None]
        channels = embedding.shape[-1]
        return rearrange(
            linear(channels, count * channels, name, self.dtype)(embedding), "b (n d) -> b n d", d=channels
        )

    def _time(self, label: Time, channels: int) -> Float[Array, "b {self.time_tokens} {channels}"]:
        width = self.time_tokens * channels
        if self.num_timesteps is not None:
            init = nn.initializers.normal(1.0)
            h = nn.Embed(self.num_timesteps, width, embedding_init=init, name="time")(label.astype(jnp.int32))
        else:
            h = sinusoidal(label, channels)
            for i in range(2):
                h = nn.silu(linear(h.shape[-1], 2 * width, f"time_{i}", self.dtype)(h))
            h = linear(2 * width, width, "time_2", self.dtype)(h)
        return rearrange(h, "b (n d) -> b n d", d=channels)

    def _transformed(self, h: Tokens, train: bool) -> Tokens:
        bias = DistanceBias(self.heads, name="distance_bias")(h.shape[1], h.shape[1] + 1)
        frequencies = None
        if self.rotary:
            pairs = min(MOST_ROTATED, self.head_width) // 2
            # A parameter, as in the original, of numbers that are not trained.
            frequencies = jax.lax.stop_gradient(self.param("rotary_frequencies", _geometric, pairs))
        for i in range(self.layers):
            attention = MultiQueryAttention(
                self.heads, self.head_width, self.dropout, self.dtype, name=f"attention_{i}"
            )
            h = h + attention(h, bias, frequencies, train)
            layers = GatedLayers(self.mlp_ratio, self.normformer, self.dropout, self.dtype, name=f"gated_{i}")
            h = h + layers(h, train)
        return h

    def _check_shapes(self, x: Image, context: Float[Array, "b n _"], text_embedding: Float[Array, "b _"]) -> None:
        if x.shape[1:3] != (1, 1):
            raise InputError(f"A prior draws embeddings (1, 1, d), not arrays {x.shape[1:]}: give it those of a CLIP.")
        if context.shape[1] > self.text_length:
            raise InputError(
                f"This prior's texts have at most {self.text_length} tokens, not {context.shape[1]}: cut them."
            )
        for name, given in (("context", context), ("text_embedding", text_embedding)):
            if given.shape[-1] != x.shape[-1]:
                raise InputError(
                    f"The condition {name!r} has {given.shape[-1]} channels where the embeddings have {x.shape[-1]}: "
                    "give both those of one CLIP."
                )
