"""What the bound on images leaves free, fitted once to the training split of a model and kept in its workdir."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from score_jax.arrays import fold_in_each, keys_per_example, normal_per_example
from score_jax.builder import Experiment
from score_jax.builder.likelihood_options import OfImages
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.jobs.likelihood_latents import decoded, latents_of, latents_with, posterior
from score_jax.jobs.likelihood_ode import density_by_ode, precision
from score_jax.jobs.per_example import over_examples
from score_jax.likelihood.latent_bound import LevelDecoder, activity, in_units_of_z, negative_log_q, widened
from score_jax.likelihood.latent_calibration import best_width, fit_decoder
from score_jax.runtime.parts import Columns
from score_jax.runtime.results import write_json
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.training.fingerprint import fingerprint
from score_jax.typing import Params

_WIDTHS = (math.log(1e-4), 0.0)
"""Between which the standard deviation of q is searched: log of it in units of x0."""
_PIXELS = 2**20
"""Of all images together, to which scales are fitted."""
_UNREAD = ("num_examples", "importance_samples", "sensitivity_batches")
"""Options on which a fit does not depend."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What was fitted.

    Attributes:
      decoder: p(x | z).
      posterior: of `latent_bound.POSTERIORS`.
      log_width: log of the factor by which q is wider than the encoder's, or of its standard deviation in z.
      images: of the train split that it was fitted to.
      tried: log widths, and the bound on those images, bits/dim; none where the encoder's q is taken.
    """

    decoder: LevelDecoder
    posterior: str
    log_width: float
    images: int
    tried: list[tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able; scales in levels."""
        decoder, found = self.decoder, self.tried
        return {
            "distribution": decoder.distribution,
            "log_scale": np.asarray(decoder.log_scale, float).tolist(),
            "activity_edges": np.asarray(decoder.edges, float).tolist(),
            "posterior": self.posterior,
            "log_width": self.log_width,
            "train_images": self.images,
            "train_bits_per_dim_by_log_width": [list(pair) for pair in found],
        }

    @classmethod
    def of_dict(cls, values: dict[str, Any]) -> "Calibration":
        """What `to_dict` wrote."""
        log_scale, edges = (jnp.asarray(values[name], jnp.float32) for name in ("log_scale", "activity_edges"))
        tried = [(log_width, bits) for log_width, bits in values["train_bits_per_dim_by_log_width"]]
        decoder = LevelDecoder(log_scale, edges, values["distribution"])
        return cls(decoder, values["posterior"], float(values["log_width"]), values["train_images"], tried)


def calibrated(experiment: Experiment, params: Params, mesh: Mesh, source: Source, path: Path) -> Calibration:
    """Returns the calibration in a file, fitted first if it is not there or is one of other weights, data or options.

    Args:
      experiment: a model of latents, and its `likelihood` section.
      params: its parameters.
      mesh: all devices.
      source: its training data.
      path: of the file, JSON.

    Raises:
      InputError: the model has no bound on images, the file is damaged, or the batch does not split over the devices.
    """
    latents_of(experiment)
    facts = _facts(experiment, params, source)
    if path.is_file():
        try:
            kept = json.loads(path.read_text())
            if kept["fitted_on"] == facts:
                return Calibration.of_dict(kept["calibration"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged: remove it, and it is fitted anew.") from None
    found = fit(experiment, params, mesh, source)
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"calibration": found.to_dict(), "fitted_on": facts})
    return Calibration.of_dict(found.to_dict())


def _facts(experiment: Experiment, params: Params, source: Source) -> dict[str, Any]:
    """What tells a fit from others."""
    options = dataclasses.asdict(experiment.likelihood)
    numbers = json.dumps(fingerprint(params), sort_keys=True)
    return {
        "parameters": hashlib.sha256(numbers.encode()).hexdigest()[:16],
        "data": source.fingerprint,
        "latent_scale": latents_of(experiment).scale,
        "options": {name: value for name, value in options.items() if name not in _UNREAD},
    }


def fit(experiment: Experiment, params: Params, mesh: Mesh, source: Source) -> Calibration:
    """Fits a calibration to `likelihood.calibration_images` images of the training data, by one draw of z each.

    Raises:
      InputError: as of `calibrated`.
    """
    c, codec = experiment.likelihood, latents_of(experiment)
    assert isinstance(c, OfImages)
    images = _chosen(source, c.calibration_images, c.seed)
    dim = math.prod(experiment.image_shape)
    with precision(c.matmul_precision):
        draws = _draws(experiment, params, mesh, images)

        def of_width(log_width: float) -> tuple[LevelDecoder, float]:
            """The best decoder of a width, and the bound, bits/dim."""
            columns = draws(log_width)
            levels, means, changes = (np.concatenate(columns[name]) for name in ("levels", "means", "changes"))
            decoder, per_channel = fit_decoder(levels, means, changes, c.decoder, c.scale_groups)
            rate = np.mean(columns["prior"].astype(float) + columns["entropy"])
            return decoder, float(-(per_channel + rate / dim) / math.log(2.0))

        log_width, tried = 0.0, []
        if c.posterior != "encoder":
            mean_log_std = float(np.mean(draws(0.0)["log_std"])) if c.posterior == "widened" else 0.0
            low, high = (end - mean_log_std - math.log(codec.scale) for end in _WIDTHS)
            log_width, found = best_width(lambda log_width: -of_width(log_width)[1], low, high)
            tried = [(log_width, -bound) for log_width, bound in found if math.isfinite(bound)]
            if not tried:
                raise InputError(
                    "The bound on images is not finite at any width of q(z | x): check that the weights of the model "
                    "and of its autoencoder are finite and belong together."
                )
        return Calibration(of_width(log_width)[0], c.posterior, log_width, len(images), tried)


def _chosen(source: Source, count: int, seed: int) -> Source:
    """So many examples of a source, drawn by the seed; all where it has no more."""
    places = np.sort(np.random.default_rng(seed).permutation(len(source))[:count])
    rows = [source.rows[int(place)] for place in places]
    return dataclasses.replace(source, rows=rows, labels=None, summary=None)


def _draws(experiment: Experiment, params: Params, mesh: Mesh, images: Source) -> Any:
    """`draws(log_width)`: of one draw of z of each image, its terms, and pixels with what the decoder makes of them.

    The noise is the same at each width.
    """
    c, of_x0, split = experiment.likelihood, density_by_ode(experiment), over_batch(mesh)
    h, w, _ = experiment.image_shape
    places = np.random.default_rng(c.seed).permutation(h * w)[: max(1, _PIXELS // len(images))]

    def some(pixels: Array) -> Array:
        return pixels.reshape(len(pixels), h * w, *pixels.shape[3:])[:, places]

    def run(params: Params, key, batch, log_width) -> dict[str, Array]:
        keys, coder = keys_per_example(key, batch["index"]), latents_with(experiment, params)
        said, density = posterior(coder, batch["image"]), of_x0(params, keys, batch)
        q = widened(said, c.posterior, log_width)
        eps = normal_per_example(fold_in_each(keys, 1), q.mean)
        z = q.draw(eps)
        means = decoded(coder, z)
        return {
            "prior": in_units_of_z(density(coder.scale * z, jnp.asarray(0))[0], z, coder.scale),
            "entropy": negative_log_q(q, eps),
            "log_std": 0.5 * jnp.mean(said.log_var, axis=(1, 2, 3)),
            "levels": some(batch["image"]),
            "means": some(means),
            "changes": some(activity(means)),
        }

    jitted = jax.jit(run, in_shardings=(replicated(mesh), None, split, None), out_shardings=split)

    def draws(log_width: float) -> Columns:
        return over_examples(
            lambda batch: jitted(params, jax.random.key(c.seed), batch, jnp.asarray(log_width)),
            images,
            mesh,
            count=len(images),
            batch_size=c.batch_size,
            key="likelihood.batch_size",
        )

    return draws
