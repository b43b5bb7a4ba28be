"""CLIP: images and texts to features in one space (Radford et al. 2021, arXiv 2103.00020)."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from score_jax.errors import InputError, entry_of
from score_jax.models.clip.clip_resnet import ModifiedResNet
from score_jax.models.clip.clip_transformer import Block, Tokens, layer_norm, states
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.typing import Image, Params

Features = Float[Array, "b d"]
Ids = Int[Array | np.ndarray, "texts tokens"]
"""Ids of a text's tokens. What follows the end of the text changes nothing; `POOLS` says where that is."""


def _last(ids: Ids) -> Int[Array, "texts"]:
    """The place of each text's last token that is not 0."""
    return jnp.max(jnp.where(ids != 0, jnp.arange(ids.shape[1])[None], 0), axis=1)


POOLS: Mapping[str, Callable[[Ids], Int[Array, "texts"]]] = {
    "largest": lambda ids: jnp.argmax(ids, axis=1),
    "last": _last,
}
"""Where a text ends: at its largest id, which published models write there, or before the zeros that follow it."""


class TextTransformer(nn.Module):
    """A text's tokens, each of which sees those before it; the end's becomes the text's features.

    Attributes:
      vocabulary: ids that there are.
      context: most tokens of a text.
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      features: of the output.
      pool: where a text ends, a key of `POOLS`.
    """

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    features: int
    pool: str = "largest"

    def setup(self) -> None:
        """Makes the parts."""
        init = nn.initializers.normal
        self.tokens = nn.Embed(self.vocabulary, self.width, embedding_init=init(0.02))
        self.position = self.param("position", init(0.01), (self.context, self.width), jnp.float32)
        self.blocks = [Block(self.heads) for _ in range(self.layers)]
        self.norm_out = layer_norm()
        self.projection = self.param("projection", init(self.width**-0.5), (self.width, self.features), jnp.float32)

    def states(self, ids: Ids) -> tuple[Tokens, ...]:
        """Tokens (b, n, width) before the first block and after each."""
        n = ids.shape[1]
        mask = jnp.tril(jnp.ones((n, n), bool))[None, None]
        return states(self.blocks, self.tokens(ids) + self.position[None, :n], mask)

    def sequence(self, ids: Ids) -> Tokens:
        """Tokens (b, n, width) at the end, normalised."""
        return self.norm_out(self.states(ids)[-1])

    def pooled(self, ids: Ids) -> Float[Array, "b {self.width}"]:
        """The last of them that counts, where the text ends."""
        return jnp.take_along_axis(self.sequence(ids), self.end(ids)[:, None, None], axis=1)[:, 0]

    def end(self, ids: Ids) -> Int[Array, "texts"]:
        """The place of each text's last token that counts."""
        return entry_of(POOLS, "pool", self.pool)(ids)

    def __call__(self, ids: Ids) -> Float[Array, "b {self.features}"]:
        """Features of texts (b, n), n at most `context`."""
        return self.pooled(ids) @ self.projection


class CLIP(nn.Module):
    """Both towers, and the scale of their features' products.

    Attributes:
      vision: the tower of images; None: there is the other one alone, without a scale.
      text: the tower of texts.
    """

    vision: VisionTransformer | ModifiedResNet | None
    text: TextTransformer

    def setup(self) -> None:
        """Makes what is of neither tower."""
        if self.vision is None:
            return
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(math.log(1 / 0.07)), (), jnp.float32)

    def encode_image(self, images: Image) -> Features:
        """As `CLIPNetwork` says."""
        if self.vision is None:
            raise InputError(
                "This CLIP has its network of texts alone, and an image is to be embedded: convert one that has both."
            )
        size, expected = images.shape[1:], (self.vision.image_size, self.vision.image_size, 3)
        if size != expected:
            raise InputError(f"CLIP's images are {size} where {expected} is expected: resize and crop them.")
        return self.vision(images)

    def encode_text(self, ids: Ids) -> Features:
        """As `CLIPNetwork` says."""
        self._check_length(ids)
        return self.text(ids)

    def encode_text_sequence(self, ids: Ids) -> Tokens:
        """As `ImageText` says."""
        self._check_length(ids)
        return self.text.sequence(ids)

    def _check_length(self, ids: Ids) -> None:
        if ids.shape[1] > self.text.context:
            raise InputError(f"CLIP's texts have at most {self.text.context} tokens, not {ids.shape[1]}: cut them.")

    def __call__(self, images: Image, ids: Ids) -> Float[Array, "b texts"]:
        """As `CLIPNetwork.logits` says."""
        of_images, of_texts = directions(self.encode_image(images)), directions(self.encode_text(ids))
        return jnp.exp(self.logit_scale) * of_images @ of_texts.T


def directions(features: Features) -> Features:
    """Features over their length."""
    return features / jnp.linalg.norm(features, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True, eq=False)
class CLIPNetwork:
    """A trained CLIP as the rest of the library sees it.

    Its functions are pure and take the parameters, so that a program that is jitted has them as an argument.

    Attributes:
      module: the Linen module.
      params: its parameters.
    """

    module: CLIP
    params: Params

    @property
    def image_size(self) -> int:
        """Height and width of the images that it sees."""
        assert self.module.vision is not None, "asked of a CLIP without a network of images"
        return self.module.vision.image_size

    def encode_image(self, params: Params, images: Image) -> Features:
        """Features (b, d), of any length, of images (b, image_size, image_size, 3), normalised by CLIP's statistics.

        Raises:
          InputError: the images are of another size.
        """
        return self._apply(params, "encode_image", images)

    def encode_text(self, params: Params, ids: Ids) -> Features:
        """Features (b, d), of any length, of texts (b, n); published models have n = 77.

        Raises:
          InputError: the texts are longer than the model's.
        """
        return self._apply(params, "encode_text", ids)

    def logits(self, params: Params, images: Image, ids: Ids) -> Float[Array, "b texts"]:
        """How well each image (rows) fits each text: the scaled cosine of their features."""
        return self._apply(params, "__call__", images, ids)

    def _apply(self, params: Params, method: str, *args: Any) -> Any:
        return self.module.apply({"params": params}, *args, method=method)


def parameter_shapes(module: CLIP) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    ids = jax.ShapeDtypeStruct((1, module.text.context), jnp.int32)
    if module.vision is None:
        return jax.eval_shape(functools.partial(module.init, method="encode_text"), jax.random.key(0), ids)["params"]
    size = module.vision.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images, ids)["params"]
