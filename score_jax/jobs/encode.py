"""`encode`: images to latents along the probability-flow ODE, and back (Song et al. 2021, appendix D.5)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from score_jax.builder import Experiment
from score_jax.builder.likelihood import variables_of
from score_jax.codecs.codec import Codec
from score_jax.codecs.latents import Latents
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.guidance.measurements import slerp
from score_jax.jobs.per_example import over_examples
from score_jax.processes.gaussian import GaussianProcess
from score_jax.runtime.parts import Columns
from score_jax.runtime.sharding import over_batch
from score_jax.samplers.ode import Solved, integrate_drift
from score_jax.typing import Params

WEIGHTS = tuple(np.linspace(0.0, 1.0, 8))
"""Of the second image of a pair, from the one to the other."""


@dataclasses.dataclass(frozen=True, eq=False)
class Coder:
    """A model's two maps.

    Attributes:
      experiment: in continuous time.
      params: its parameters.
    """

    experiment: Experiment
    params: Params

    def _carry(self, x, batch: Mapping[str, Array], t0: float, t1: float) -> Solved:
        process, c = self.experiment.process, self.experiment.exact()
        assert isinstance(process, GaussianProcess)
        return integrate_drift(
            self.experiment.predictor(self.params),
            process,
            x,
            t0,
            t1,
            self.experiment.ode(),
            conditions=self.experiment.conditions(self.params, batch),
            variables=variables_of(c, c.t_min),
        )

    def encode(self, x: Float[Array, "b h w c"], batch: Mapping[str, Array]) -> Solved:
        """From data to t_max, with the conditions of a batch."""
        return self._carry(x, batch, self.experiment.exact().t_min, self.experiment.process.t_max)

    def decode(self, latents: Float[Array, "b h w c"], batch: Mapping[str, Array]) -> Solved:
        """From t_max to data, with the conditions of a batch."""
        return self._carry(latents, batch, self.experiment.process.t_max, self.experiment.exact().t_min)


def coder(experiment: Experiment, params: Params) -> Coder:
    """Returns the encoder and decoder of a model.

    Raises:
      InputError: it has no ODE, it enlarges images, or it has another condition than a class.
    """
    experiment.part("likelihood")
    if experiment.config.data.low_resolution:
        raise InputError(
            "This model enlarges images, so it has no latents of images: use a model that draws images from noise."
        )
    if others := experiment.network.conditions.keys() - {"label"}:
        raise InputError(
            f"This model needs the condition {min(others)!r}, and `encode` knows classes only: use a model without it."
        )
    return Coder(experiment.in_continuous_time(), params)


def _levels(codec: Codec, x0: Float[Array, "b h w c"]) -> Float[Array, "b _ _ _"]:
    """x0 in levels of 0 to 255 but for a constant; of latents the images of them."""
    if isinstance(codec, Latents):
        return codec.pixels.levels_per_unit * codec.images(x0)
    return codec.levels_per_unit * x0


def encode(coder: Coder, mesh: Mesh, source: Source, count: int) -> Columns:
    """Encodes the first `count` images to latents, and decodes them again.

    Returns:
      "latents" and "reconstructions" (n, h, w, c), "images" (uint8), "labels", "rms_error" in levels of 0 to 255,
      "nfe" there and back, "ok".
    """
    split = over_batch(mesh)
    codec = coder.experiment.codec_with(coder.params)

    def run(batch):
        x = codec.encode(batch["image"])
        there = coder.encode(x, batch)
        back = coder.decode(there.y, batch)
        error = jnp.sqrt(jnp.mean((_levels(codec, back.y) - _levels(codec, x)) ** 2, axis=(1, 2, 3)))
        return {
            "latents": there.y,
            "reconstructions": codec.decode(back.y),
            "images": batch["image"],
            "labels": batch["label"],
            "rms_error": error,
            "nfe": there.nfe + back.nfe,
            "ok": there.ok & back.ok,
        }

    batch_size = coder.experiment.likelihood.batch_size
    with jax.default_matmul_precision("highest"):
        return over_examples(
            jax.jit(run, out_shardings=split),
            source,
            mesh,
            count=count,
            batch_size=batch_size,
            key="likelihood.batch_size",
        )


def interpolate(coder: Coder, columns: Columns, pairs: int) -> UInt8[np.ndarray, "n h w c"]:
    """Decoded latents on the arcs between the images of each pair, `WEIGHTS` to a row; a class is the first's."""
    first, second = (jnp.asarray(columns["latents"][start : 2 * pairs : 2]) for start in (0, 1))
    arcs = jnp.stack([slerp(first, second, float(weight)) for weight in WEIGHTS], axis=1)
    labels = jnp.repeat(jnp.asarray(columns["labels"][: 2 * pairs : 2]), len(WEIGHTS))
    decoded = jax.jit(coder.decode)(arcs.reshape(-1, *arcs.shape[2:]), {"label": labels})
    return np.asarray(coder.experiment.codec_with(coder.params).decode(decoded.y))


def agreement(latents: Float[np.ndarray, "n ..."], others: Float[np.ndarray, "n ..."]) -> dict[str, Any]:
    """Returns how far two models give the same images the same latents: their encoding is unique, if both are exact.

    Returns:
      The mean over images of the correlation, and of that with the latent of another image, which should be 0.
    """

    def standard(values):
        flat = values.reshape(len(values), -1).astype(np.float64)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    a, b = standard(latents), standard(others)
    same = np.sum(a * b, axis=1)
    if len(a) < 2:
        return {"correlation": float(same.mean())}
    shifted = np.sum(a * np.roll(b, 1, axis=0), axis=1)
    return {"correlation": float(same.mean()), "correlation_with_another_image": float(shifted.mean())}


def failed(columns: Columns) -> Int[np.ndarray, "k"]:
    """Places of the images that do not come back: a solve gave up, or the error is not finite."""
    return np.flatnonzero(~columns["ok"] | ~np.isfinite(columns["rms_error"]))


def summary(columns: Columns) -> dict[str, Any]:
    """Returns errors and evaluations over the images; no error where images are not reconstructed."""
    counts = {
        "count": len(columns["index"]),
        "nfe_mean": float(columns["nfe"].mean()),
        "failed": len(failed(columns)),
    }
    if counts["failed"]:
        return counts | {"first_failed": int(columns["index"][failed(columns)[0]])}
    return counts | {
        "rms_error_levels": float(columns["rms_error"].mean()),
        "rms_error_levels_largest": float(columns["rms_error"].max()),
    }
