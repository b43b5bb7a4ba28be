"""`edit --task=blend`: an image painted by a text where a mask is white (Blended Diffusion, Avrahami et al. 2022)."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from score_jax.builder.networks import codec_of
from score_jax.builder.sections import completed, made
from score_jax.codecs.pixels import Pixels
from score_jax.convert.clip import load_clip
from score_jax.convert.lpips import load_lpips
from score_jax.data.tokenizer import tokenize
from score_jax.errors import InputError
from score_jax.guidance.text import spherical_distance
from score_jax.jobs.edit import Task
from score_jax.jobs.text_guide import Perceptual, TextGuide
from score_jax.models.clip.clip_input import normalised
from score_jax.typing import Image, Params


@dataclasses.dataclass(frozen=True)
class Weights:
    """Files of the networks that guide.

    Attributes:
      clip: CLIP's.
      lpips_vgg: VGG16's, of LPIPS; only where `edit.perceptual_scale` asks for it.
      lpips_heads: those of LPIPS itself.
    """

    clip: Path | None
    lpips_vgg: Path | None = None
    lpips_heads: Path | None = None


def load_guide(config: ConfigDict, prompt: str, task: Task, files: Weights) -> TextGuide:
    """Loads CLIP, with the text that guides.

    Raises:
      InputError: a file or the text is missing or unusable, or the model's images are not RGB in [-1, 1].
    """
    config = completed(config)
    data, value_range, options = config.data, codec_of(config).bounds, made(config, "edit")
    if not prompt:
        raise InputError('--task=blend needs --prompt="...": what the painted part is to show.')
    if files.clip is None:
        raise InputError("--task=blend needs --clip=FILE: CLIP's weights, e.g. OpenAI's ViT-B-16.pt.")
    if data.channels != 3 or value_range != (-1.0, 1.0):
        raise InputError(
            f"--task=blend needs a model of RGB images in [-1, 1]; this one has {data.channels} channels in "
            f"{value_range}."
        )
    clip = load_clip(files.clip)
    text = clip.encode_text(clip.params, tokenize([prompt]))
    params: dict[str, Params] = {"clip": clip.params}
    perceptual: Perceptual = _no_lpips
    if options.perceptual_scale:
        params["lpips"], perceptual = _lpips(files)
    return TextGuide(
        embed=lambda params, images: clip.encode_image(params["clip"], normalised(images)),
        perceptual=perceptual,
        params=params,
        text=text,
        size=clip.image_size,
        mask=task.painted[None],
        options=options,
    )


def _no_lpips(params: Params, a: Image, b: Image) -> Float[Array, "b"]:
    return jnp.zeros(len(a), a.dtype)


def _lpips(files: Weights) -> tuple[Params, Perceptual]:
    if files.lpips_vgg is None or files.lpips_heads is None:
        raise InputError("edit.perceptual_scale needs --lpips_vgg=FILE and --lpips_heads=FILE, or 0 to do without.")
    lpips = load_lpips(files.lpips_vgg, files.lpips_heads)
    return lpips.params, lambda params, a, b: lpips.distance(params["lpips"], a, b)


def distances(guide: TextGuide, images: UInt8[np.ndarray, "n h w c"], *, batch_size: int) -> Float[np.ndarray, "n"]:
    """Returns how far the painted part of each image, not warped, is from the text: less is better (section 4.3).

    CLIP is given what it takes; the published code leaves out the normalisation here.
    """

    @jax.jit
    def of(params: Params, pixels: UInt8[Array, "b h w c"]) -> Float[Array, "b"]:
        painted = Pixels(0.0, 1.0).encode(pixels) * jnp.asarray(guide.mask)
        shape = (len(pixels), guide.size, guide.size, pixels.shape[-1])
        features = guide.embed(params, jax.image.resize(painted, shape, "bilinear"))
        return spherical_distance(features, guide.text)

    parts = [of(guide.params, images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    return np.concatenate([np.asarray(part) for part in parts])


def ranking(distances: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Places of the images, the nearest to the text first."""
    return np.argsort(distances, kind="stable")
