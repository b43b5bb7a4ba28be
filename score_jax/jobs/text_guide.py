"""What guides an edit by text: CLIP, the text, and the place of the edit."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.builder.run_options import EditOptions
from score_jax.guidance.text import Features, Loss, background_loss, distance_to_text, edit_loss
from score_jax.guidance.views import Views, clip_views
from score_jax.typing import Image, KeyBatch, Params, Time

Embed = Callable[[Params, Image], Features]
"""`embed(params, images)`: features of images in [0, 1], of the size that CLIP takes."""
Perceptual = Callable[[Params, Image, Image], Float[Array, "b"]]
"""`perceptual(params, a, b)`: LPIPS of images in [-1, 1]."""


@dataclasses.dataclass(frozen=True, eq=False)
class TextGuide:
    """A text, and the networks that say how far an image is from it.

    Attributes:
      embed: CLIP's image tower.
      perceptual: LPIPS; 0 where the background is not held by it.
      params: of both, what `embed` and `perceptual` are given.
      text: features (1, d) of the text of all samples, or (n, d) of those of each.
      size: side of the images that CLIP takes.
      mask: 1 where the image is edited.
      options: the strengths.
    """

    embed: Embed
    perceptual: Perceptual
    params: Params
    text: Float[np.ndarray, "_ d"]
    size: int
    mask: Float[np.ndarray, "1 h w 1"]
    options: EditOptions

    def texts(self, places: Int[np.ndarray, "b"]) -> Float[np.ndarray, "b d"]:
        """The features of the texts of these samples."""
        return self.text[places % len(self.text)]

    def loss(self, params: Params, keys: KeyBatch, images: Image, texts: Features) -> Loss:
        """What an edit of the images makes small; an example's views depend on its key and the time alone.

        Args:
          params: those of the guide, traced.
          keys: of the examples (b,).
          images: that are edited (b, h, w, c), in [-1, 1].
          texts: features (b, d), as `texts` has them.
        """
        o, mask = self.options, jnp.asarray(self.mask, images.dtype)

        def views(x: Image, t: Time) -> Views:
            of_time = jax.lax.bitcast_convert_type(t.astype(jnp.float32), jnp.uint32)
            return clip_views(jax.vmap(jax.random.fold_in)(keys, of_time), x, self.size, o.views)

        distance = distance_to_text(lambda x: self.embed(params, x), texts, views)
        wanted = edit_loss(distance, mask, text_scale=o.text_scale, range_scale=o.range_scale)
        if not o.perceptual_scale and not o.square_scale:
            return wanted

        perceptual = functools.partial(self.perceptual, params)
        scales = {"perceptual_scale": o.perceptual_scale, "square_scale": o.square_scale}
        kept = background_loss(perceptual, images, mask, **scales)
        return lambda x0, seen, t: wanted(x0, seen, t) + kept(x0, seen, t)
