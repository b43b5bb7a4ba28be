"""What `unclip.py` does with held-out images: text diffs, variations, paths and components, read by the checker."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import jax.numpy as jnp
import numpy as np

from score_jax.codecs.embedding_codes import principal_components
from score_jax.data.captioned_checker import share_right
from score_jax.data.captioned_shapes import COLOURS
from score_jax.guidance.embedding_paths import from_components, text_difference, towards
from score_jax.jobs import variations
from score_jax.jobs.variations import Decoder, Pair

THETAS = (0.0, 0.25, 0.5)
ETAS = (0.5, 1.0)
COMPONENTS = (4, 11, 64)

Enlarge = Callable[[str, np.ndarray], np.ndarray]
"""`enlarge(name, images)`: images of 16 x 16 at 32 x 32."""


@dataclasses.dataclass(frozen=True)
class Edits:
    """Shares of images that are read right.

    Attributes:
      drawn_again: as their captions, drawn from their own noise.
      diff: as the caption with the new colour, by theta.
      diff_kept: in all but the colour, by theta.
      kept: variations, as the caption, by eta.
      of_components: as the caption, by the number of components.
      pictures: rows of images by name.
    """

    drawn_again: float
    diff: dict[float, float]
    diff_kept: dict[float, float]
    kept: dict[float, float]
    of_components: dict[int, float]
    pictures: dict[str, np.ndarray]


def following(names: Iterable[str], name: str) -> str:
    """The name after this one; the first after the last."""
    ordered = list(names)
    return ordered[(ordered.index(name) + 1) % len(ordered)]


def recoloured(caption: str) -> str:
    """The caption of the same object in the next colour: "a small red circle ..." in green.

    >>> recoloured("a small red circle on the left of a white background").split()[2] in COLOURS
    True
    """
    words = caption.split()
    words[2] = following(COLOURS, words[2])
    return " ".join(words)


def measure(decoder: Decoder, pair: Pair, captions: Sequence[str], of_training: np.ndarray, enlarge: Enlarge) -> Edits:
    """Edits images.

    Args:
      decoder: what draws.
      pair: the images.
      captions: of each.
      of_training: embeddings of training images, of which the components are.
      enlarge: makes what is drawn as large as the checker reads it.
    """
    new = [recoloured(caption) for caption in captions]
    direction = text_difference(decoder.embed_texts(new), decoder.embed_texts(captions))
    pictures = {"image": enlarge("image", pair.images)}
    diff, kept_of_diff, kept, of_components = {}, {}, {}, {}
    for theta in THETAS:
        images = enlarge(f"theta_{theta:g}", decoder.draw(pair.latents, towards(pair.z, direction, theta)))
        pictures[f"other colour, theta {theta:g}"] = images
        shares = share_right(images, new)
        diff[theta] = shares["all"]
        kept_of_diff[theta] = min(share for name, share in shares.items() if name not in ("colour", "all"))
    for eta in ETAS:
        images = enlarge(f"eta_{eta:g}", decoder.vary(pair.latents, pair.z, eta, seed=0))
        pictures[f"variation, eta {eta:g}"] = images
        kept[eta] = share_right(images, captions)["all"]
    mean, basis = (jnp.asarray(each, jnp.float32) for each in principal_components(of_training))
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(1, *pair.latents.shape[1:])), jnp.float32)
    for count in COMPONENTS:
        z = from_components(pair.z, mean, basis, count)
        images = enlarge(f"components_{count}", decoder.draw(jnp.repeat(noise, len(z), axis=0), z))
        pictures[f"{count} components"] = images
        of_components[count] = share_right(images, captions)["all"]
    again = share_right(pictures["other colour, theta 0"], captions)["all"]
    return Edits(again, diff, kept_of_diff, kept, of_components, pictures)


def path(decoder: Decoder, pair: Pair, enlarge: Enlarge) -> dict[str, np.ndarray]:
    """Pictures from the first image to the second."""
    rows = variations.interpolations(decoder, pair, fixed=1, seed=0)
    return {name: enlarge(name.replace(" ", "_").replace(",", ""), images) for name, images in rows.items()}
