"""What a decoder of embeddings does with an image: variations, paths, text diffs, components (unCLIP, section 3).

An image is a pair (z, x_T): z is its embedding by the CLIP, and x_T the noise from which the decoder draws it, found by
solving the probability-flow ODE backwards, the limit of DDIM's inversion in many steps. No guidance, and no caption.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Shaped, UInt8
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder import Experiment
from score_jax.codecs.embedding_codes import principal_components
from score_jax.codecs.embeddings import CLIP
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING
from score_jax.data import images as image_files
from score_jax.data.sources import shown
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError
from score_jax.guidance.embedding_paths import between, from_components, text_difference, towards
from score_jax.guidance.measurements import slerp
from score_jax.jobs.edit import fitted
from score_jax.jobs.encode import Coder
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import Given, draw
from score_jax.models.conditions import TOKENS
from score_jax.typing import Params

Images = UInt8[np.ndarray, "n h w c"]
Shown = UInt8[np.ndarray, "n s s 3"]
Embeddings = Float[Array, "n d"]
WEIGHTS = tuple(float(weight) for weight in np.linspace(0.0, 1.0, 8))
"""Of the steps of a path."""
_MEASURED = 1024
"""Images of training whose embeddings the principal components are of."""


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
    """A decoder of embeddings with its parameters.

    Attributes:
      experiment: its run.
      params: as `Experiment.with_frozen` returns them.
      mesh: of the devices.
    """

    experiment: Experiment
    params: Params
    mesh: Mesh

    @functools.cached_property
    def _coder(self) -> Coder:
        return Coder(self.experiment.in_continuous_time(), self.params)

    @functools.cached_property
    def _tokenizer(self):
        data = self.experiment.config.data
        return text_tokenizer(data.tokenizer, data.max_tokens)

    def _batch(self, z: Embeddings) -> dict[str, Array]:
        """The conditions of embeddings, without a caption."""
        batch: dict[str, Array] = {IMAGE_EMBEDDING: z}
        if TOKENS in self.experiment.network.conditions:
            assert self._tokenizer is not None, "a decoder of captions has been refused without one"
            batch[TOKENS] = _repeated(jnp.asarray(self._tokenizer.encode(""))[None], len(z))
        return batch

    def embed(self, shown: Shown) -> Embeddings:
        """Embeddings of images at the CLIP's own size."""
        clip = self.experiment.frozen[CLIP]
        return jax.jit(clip.encode_image)(self.params["frozen"][CLIP], jnp.asarray(shown))

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings of texts.

        Raises:
          InputError: the run names no tokenizer.
        """
        if self._tokenizer is None:
            raise InputError("data.tokenizer is missing: give the one that the CLIP was trained with.")
        ids = np.stack([self._tokenizer.encode(text) for text in texts])
        return jax.jit(self.experiment.frozen[CLIP].encode_text)(self.params["frozen"][CLIP], jnp.asarray(ids))

    def invert(self, images: Images, z: Embeddings) -> tuple[Float[Array, "n h w c"], Bool[Array, "n"]]:
        """The noise x_T of images and their embeddings, and whether each solve came to its end."""
        x0 = self.experiment.codec_with(self.params).encode(jnp.asarray(images))
        with jax.default_matmul_precision("highest"):
            solved = jax.jit(self._coder.encode)(x0, self._batch(z))
        return solved.y, solved.ok

    def draw(self, latents: Float[Array, "n h w c"], z: Embeddings) -> Images:
        """Images of noise and embeddings, by the same ODE: those of an image's own pair are the image again."""
        with jax.default_matmul_precision("highest"):
            solved = jax.jit(self._coder.decode)(latents, self._batch(z))
        return np.asarray(self.experiment.codec_with(self.params).decode(solved.y, "rounded"))

    def vary(self, latents: Float[Array, "n h w c"], z: Embeddings, eta: float, seed: int) -> Images:
        """Images of noise and embeddings by DDIM, with new noise in its steps: the more, the larger eta is."""
        own = ConfigDict(self.experiment.config.to_dict())
        steps = {key: own.sampler[key] for key in ("num_steps", "threshold") if key in own.sampler}
        own.sampler = ConfigDict({"name": "ddim", "eta": eta, **steps})
        conditions = {name: np.asarray(array) for name, array in self._batch(z).items()}
        drawn = draw(
            builder.experiment(own),
            self.params,
            self.mesh,
            range(len(z)),
            batch_size=own.sampling.batch_size,
            seed=seed,
            given=Given(conditions=conditions, latents=np.asarray(latents)),
            rounding="rounded",
        )
        return drawn.images


def decoder_of(experiment: Experiment, params: Params, mesh: Mesh) -> Decoder:
    """Returns the decoder of a run.

    Raises:
      InputError: the run is of no decoder of embeddings, or guided.
    """
    experiment.part("sampler")
    if IMAGE_EMBEDDING not in experiment.network.conditions:
        raise InputError("This run draws no images of embeddings: give the workdir of an unCLIP's decoder.")
    if experiment.is_guided:
        raise InputError("Guidance does not lead back to an image: leave out guidance.scale, or give 1.")
    return Decoder(experiment, params, mesh)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Images as the decoder sees them.

    Attributes:
      images: (n, h, w, c) at the decoder's size.
      z: their embeddings.
      latents: the noise from which they are drawn.
    """

    images: Images
    z: Embeddings
    latents: Float[Array, "n h w c"]


def read(decoder: Decoder, files: Sequence[str]) -> Pair:
    """The pairs of images in files, cut and resized as images of training are.

    Raises:
      InputError: a file is no image, or its noise is not found.
    """
    config = decoder.experiment.config
    size = builder.shown_size(config) or config.data.image_size
    whole = [image_files.decode(Path(file), file) for file in files]
    named = list(zip(whole, files, strict=True))
    images = np.stack([fitted(each, config.data, file) for each, file in named])
    return pair_of(decoder, images, np.stack([shown(each, file, size=size) for each, file in named]), names=files)


def pair_of(decoder: Decoder, images: Images, shown: Shown, names: Sequence[str] = ()) -> Pair:
    """The pairs of images.

    Args:
      decoder: what draws them.
      images: at its size.
      shown: at the CLIP's.
      names: of the images, for messages.

    Raises:
      InputError: the noise of an image is not found.
    """
    z = decoder.embed(shown)
    latents, ok = decoder.invert(images, z)
    lost = np.flatnonzero(~np.asarray(ok) | ~np.isfinite(np.asarray(latents)).all(axis=(1, 2, 3)))
    if lost.size:
        name = names[lost[0]] if names else f"image {lost[0]}"
        raise InputError(
            f"The ODE from {name} to its noise gave up: check that the weights are finite, or give larger "
            "likelihood.rtol and likelihood.atol."
        )
    return Pair(images, z, latents)


def _repeated(array: Shaped[Array, "1 ..."], count: int) -> Shaped[Array, "n ..."]:
    return jnp.repeat(array, count, axis=0)


def _noise(decoder: Decoder, seed: int) -> Float[Array, "1 h w c"]:
    shape = decoder.experiment.codec.shape(decoder.experiment.image_shape)
    return jax.random.normal(jax.random.key(seed), (1, *shape))


Rows = dict[str, Images]
"""Rows of a page by what they show."""


def variations(decoder: Decoder, pair: Pair, etas: Sequence[float], count: int, seed: int) -> Rows:
    """An image, the image drawn again, and `count` others of the same z for each eta (section 3.1)."""
    z, latents = _repeated(pair.z[:1], count), _repeated(pair.latents[:1], count)
    rows = {"image, and drawn again": np.concatenate([pair.images[:1], decoder.draw(pair.latents[:1], pair.z[:1])])}
    return rows | {f"eta {eta:g}": decoder.vary(latents, z, eta, seed) for eta in etas}


def interpolations(decoder: Decoder, pair: Pair, fixed: int, seed: int) -> Rows:
    """Paths from the first image to the second (section 3.2): of both z and x_T, whose ends are the images, and of z
    alone from `fixed` noises that stay the same."""
    z = jnp.concatenate([between(pair.z[:1], pair.z[1:2], weight) for weight in WEIGHTS])
    latents = jnp.concatenate([slerp(pair.latents[:1], pair.latents[1:2], weight) for weight in WEIGHTS])
    rows = {"embedding and noise": decoder.draw(latents, z)}
    for i in range(fixed):
        noise = _repeated(_noise(decoder, seed + i), len(WEIGHTS))
        rows[f"embedding alone, noise {i}"] = decoder.draw(noise, z)
    return rows


def text_diff(decoder: Decoder, pair: Pair, new: str, base: str, theta: float) -> Rows:
    """An image turned towards what a text says more than another, by up to theta, from its own noise (section 3.3)."""
    texts = decoder.embed_texts([new, base])
    direction = text_difference(texts[:1], texts[1:])
    z = jnp.concatenate([towards(pair.z[:1], direction, theta * weight) for weight in WEIGHTS])
    return {f"{base or '(no text)'} -> {new}": decoder.draw(_repeated(pair.latents[:1], len(WEIGHTS)), z)}


def components(decoder: Decoder, pair: Pair, counts: Sequence[int], workdir: Path, seed: int) -> Rows:
    """An image drawn of the first principal components of its z alone, from the same noise (section 5.2).

    The components are those of the first images of the train split.

    Raises:
      InputError: there are fewer components than a count.
    """
    features = pair.z.shape[1]
    for count in counts:
        if not 1 <= count <= features:
            raise InputError(f"{count} components: an embedding of this CLIP has 1 to {features}.")
    source = open_split(decoder.experiment.config, "train_split", workdir)
    rows = [source[i] for i in range(min(_MEASURED, len(source)))]
    own = decoder.embed(np.stack([row.get("shown", row["image"]) for row in rows]))
    mean, basis = (jnp.asarray(each, jnp.float32) for each in principal_components(np.asarray(own)))
    z = jnp.concatenate([from_components(pair.z[:1], mean, basis, count) for count in counts])
    named = ", ".join(str(count) for count in counts)
    return {f"{named} components": decoder.draw(_repeated(_noise(decoder, seed), len(counts)), z)}
