"""A CLIP that is trained here, or was: pure functions of its parameters, by which the rest of the library sees it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8

from score_jax.errors import InputError
from score_jax.models.clip.clip import CLIP, Features, Ids, TextTransformer
from score_jax.models.clip.clip_input import from_pixels
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.models.conditions import DeclaredConditions, token_ids
from score_jax.typing import Image, KeyArray, Params

TEMPERATURE = "logit_scale"
"""The parameter whose exponential multiplies cosines."""


def clip(
    image_size: int,
    features: int,
    vocabulary: int,
    length: int,
    text_width: int,
    text_layers: int,
    text_heads: int,
    text_pool: str,
    patch: int | None = None,
    width: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    stem: int = 0,
) -> CLIP:
    """Makes a CLIP of two transformers, or of its network of texts alone, where nothing is said of the other one.

    Args:
      image_size: height and width of its images, a multiple of `patch`.
      features: of an image and of a text.
      vocabulary: ids that there are.
      length: most tokens of a text.
      text_width: channels of a text's token.
      text_layers: blocks of the network of texts.
      text_heads: of its attention.
      text_pool: which token becomes the text's features, of `clip.POOLS`.
      patch: height and width of a patch.
      width: channels of a patch's token.
      layers: blocks of the network of images.
      heads: of its attention.
      stem: channels of the first of the convolutions that make a patch's token; 0: none do.

    Raises:
      InputError: sizes do not divide, convolutions cannot halve an image to its patches, or something is said of the
        network of images, and not all of it.
    """
    text = TextTransformer(vocabulary, length, text_width, text_layers, text_heads, features, text_pool)
    _check_divides("text_heads", text_heads, "network.text_width", text_width)
    if patch is None and width is None and layers is None and heads is None:
        return CLIP(None, text)
    if patch is None or width is None or layers is None or heads is None:
        given = {"patch": patch, "width": width, "layers": layers, "heads": heads}
        key = next(key for key, value in given.items() if value is None)
        raise InputError(f"network.{key} is missing: network.name='clip' needs it for its network of images.")
    _check_divides("patch", patch, "data.image_size", image_size)
    _check_divides("heads", heads, "network.width", width)
    if stem and (patch == 1 or patch & (patch - 1)):
        raise InputError(
            f"network.stem={stem} needs a patch that is a power of 2, not network.patch={patch}: give 4 or 8."
        )
    return CLIP(VisionTransformer(image_size, patch, width, layers, heads, features, stem), text)


def _check_divides(key: str, part: int, of: str, whole: int) -> None:
    if whole % part:
        raise InputError(f"network.{key}={part} does not divide {of}={whole}: give a divisor of it.")


@dataclasses.dataclass(frozen=True)
class ImageText:
    """A CLIP's module and the shape of its images.

    Attributes:
      module: both towers.
      image_shape: (h, w, 3) of the images, which one without a network of images does not take.
    """

    module: CLIP
    image_shape: tuple[int, int, int]

    @property
    def conditions(self) -> DeclaredConditions:
        """What a batch gives it beside the images: the ids of their texts."""
        return token_ids(self.module.text.context)

    @property
    def num_classes(self) -> int:
        """None: it knows texts."""
        return 0

    @property
    def features(self) -> int:
        """Numbers that stand for an image or a text."""
        return self.module.text.features

    def encode_image(self, params: Params, images: Image | UInt8[Array | np.ndarray, "b h w c"]) -> Features:
        """Features (b, d), of any length, of images (b, h, w, 3) in uint8, or as floats in [0, 1].

        Raises:
          InputError: the images are of another size.
        """
        return self._apply(params, "encode_image", from_pixels(jnp.asarray(images)))

    def encode_text(self, params: Params, ids: Ids) -> Features:
        """Features (b, d), of any length, of texts (b, n), n at most `conditions["tokens"]` says.

        Raises:
          InputError: the texts are longer.
        """
        return self._apply(params, "encode_text", jnp.asarray(ids))

    def encode_text_sequence(self, params: Params, ids: Ids) -> Float[Array, "b tokens width"]:
        """The tokens of texts (b, n) after the last block, normalised: what a prior is given of a text.

        Raises:
          InputError: the texts are longer.
        """
        return self._apply(params, "encode_text_sequence", jnp.asarray(ids))

    def end_of_text(self, ids: Ids) -> Int[Array, "texts"]:
        """The place of the last token of each text (b, n) that counts; padding follows it."""
        return self.module.text.end(jnp.asarray(ids))

    def scale(self, params: Params) -> Float[Array, ""]:
        """Factor of cosines in the softmax, one over the temperature."""
        return jnp.exp(params[TEMPERATURE])

    def _apply(self, params: Params, method: str, *args: Any) -> Any:
        return self.module.apply({"params": params}, *args, method=method)

    def _example(self) -> tuple[Array, Array]:
        return jnp.zeros((1, *self.image_shape)), jnp.zeros((1, self.module.text.context), jnp.int32)

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters."""
        images, ids = self._example()
        if self.module.vision is None:
            return self.module.init(key, ids, method="encode_text")["params"]
        return self.module.init(key, images, ids)["params"]

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters, without making any."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def flops(self) -> float:
        """Floating point operations of one pair's way through both towers, counted by XLA in what accelerators are
        given."""
        traced = jax.jit(lambda params, *pair: self.module.apply({"params": params}, *pair)).trace(
            self.shapes(), *jax.eval_shape(self._example)
        )
        return (traced.lower(lowering_platforms=("tpu",)).cost_analysis() or {}).get("flops", 0.0)
