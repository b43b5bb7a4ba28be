"""`edit --task=blend`: an image painted by a text where a mask is white (Blended Diffusion, Avrahami et al. 2022)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder.networks import codec_of
from score_jax.builder.sections import completed, made
from score_jax.builder.workdirs import load_config
from score_jax.codecs.pixels import Pixels
from score_jax.convert.clip import load_clip
from score_jax.convert.lpips import load_lpips
from score_jax.data.tokenizer import tokenize
from score_jax.errors import InputError
from score_jax.guidance.text import Features, spherical_distance
from score_jax.jobs.edit import Task
from score_jax.jobs.prompts import ids_of, tokenizer_of
from score_jax.jobs.text_guide import Embed, Perceptual, TextGuide
from score_jax.jobs.train import restore_params
from score_jax.models.clip.clip_input import normalised
from score_jax.typing import Image, Params


@dataclasses.dataclass(frozen=True)
class Weights:
    """Files of the networks that guide.

    Attributes:
      clip: CLIP's, or the workdir of one that `train` has trained.
      lpips_vgg: VGG16's, of LPIPS; only where `edit.perceptual_scale` asks for it.
      lpips_heads: those of LPIPS itself.
    """

    clip: Path | None
    lpips_vgg: Path | None = None
    lpips_heads: Path | None = None


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A CLIP and what it says of texts: `embed`, `params` of it, `text` and `size` of a `TextGuide`."""

    embed: Embed
    params: Params
    text: Features
    size: int


def load_guide(config: ConfigDict, prompts: Sequence[str], task: Task, files: Weights, mesh: Mesh) -> TextGuide:
    """Loads CLIP, with the texts that guide.

    Args:
      config: of the model that draws.
      prompts: the text of all samples, or one for each of them.
      task: the image, and where it is painted.
      files: of the networks that guide.
      mesh: devices for a CLIP of a workdir.

    Raises:
      InputError: a file or a text is missing or unusable, or the model's images are not RGB in [-1, 1].
    """
    config = completed(config)
    data, value_range, options = config.data, codec_of(config).bounds, made(config, "edit")
    if not prompts or not all(prompts):
        raise InputError('--task=blend needs --prompt="...": what the painted part is to show.')
    if files.clip is None:
        raise InputError(
            "--task=blend needs --clip=FILE: CLIP's weights, e.g. OpenAI's ViT-B-16.pt, or the workdir of a CLIP that "
            "`train` has trained."
        )
    if data.channels != 3 or value_range != (-1.0, 1.0):
        raise InputError(
            f"--task=blend needs a model of RGB images in [-1, 1]; this one has {data.channels} channels in "
            f"{value_range}."
        )
    clip = _trained(files.clip, prompts, mesh) if files.clip.is_dir() else _published(files.clip, prompts)
    params: dict[str, Params] = {"clip": clip.params}
    perceptual: Perceptual = _no_lpips
    if options.perceptual_scale:
        params["lpips"], perceptual = _lpips(files)
    return TextGuide(
        embed=lambda params, images: clip.embed(params["clip"], images),
        perceptual=perceptual,
        params=params,
        text=np.asarray(clip.text),
        size=clip.size,
        mask=task.painted[None],
        options=options,
    )


def _published(file: Path, prompts: Sequence[str]) -> _Clip:
    """The CLIP of a file of weights."""
    clip = load_clip(file)
    text = clip.encode_text(clip.params, tokenize(list(prompts)))
    return _Clip(
        lambda params, images: clip.encode_image(params, normalised(images)), clip.params, text, clip.image_size
    )


def _trained(workdir: Path, prompts: Sequence[str], mesh: Mesh) -> _Clip:
    """The CLIP of a run."""
    config = load_config(workdir)
    experiment = builder.experiment(config)
    clip, (params, _) = experiment.part("clip"), restore_params(config, experiment, workdir, mesh)
    text = clip.encode_text(params, ids_of(tokenizer_of(experiment), tuple(prompts), len(prompts)))
    return _Clip(clip.encode_image, params, text, clip.image_shape[0])


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
    def of(params: Params, pixels: UInt8[Array, "b h w c"], texts: Features) -> Float[Array, "b"]:
        painted = Pixels(0.0, 1.0).encode(pixels) * jnp.asarray(guide.mask)
        shape = (len(pixels), guide.size, guide.size, pixels.shape[-1])
        return spherical_distance(guide.embed(params, jax.image.resize(painted, shape, "bilinear")), texts)

    batches = (np.arange(i, min(i + batch_size, len(images))) for i in range(0, len(images), batch_size))
    return np.concatenate([np.asarray(of(guide.params, images[each], guide.texts(each))) for each in batches])


def ranking(distances: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Places of the images, the nearest to the text first."""
    return np.argsort(distances, kind="stable")
