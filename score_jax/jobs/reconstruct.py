"""`reconstruct`: what an autoencoder makes of images, and how near that is to them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from score_jax.arrays import keys_per_example, normal_per_example
from score_jax.builder import Experiment
from score_jax.convert.lpips import load_lpips
from score_jax.data.latent_records import load_facts, open_latents
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.image_errors import psnr, ssim
from score_jax.evaluation.protocols import Protocol
from score_jax.jobs.compare import facts_of
from score_jax.jobs.encode_latents import hash_of
from score_jax.jobs.feature_sets import array_features
from score_jax.jobs.per_example import over_examples
from score_jax.models.scorers.lpips import LPIPSNetwork, as_rgb
from score_jax.runtime.parts import Columns
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.typing import Params


def perceptual(vgg: Path | None, heads: Path | None) -> LPIPSNetwork | None:
    """LPIPS of these files; None where none is named.

    Raises:
      InputError: one of two is named, or a file is not to be read.
    """
    if vgg is None and heads is None:
        return None
    if vgg is None or heads is None:
        raise InputError("LPIPS needs both --lpips_vgg=FILE and --lpips_heads=FILE: give both, or neither.")
    return load_lpips(vgg, heads)


NOISE = 0.3
"""Of latents' standard deviation: what is lost under it, a diffusion model of the latents hardly learns to draw."""


def _noised(z: Float[Array, "b h w c"], index: Int[Array, "b"]) -> Float[Array, "b h w c"]:
    """Latents with noise of `NOISE` of each example's standard deviation; the noise is that of the example's index."""
    eps = normal_per_example(keys_per_example(jax.random.key(0), index), z)
    return z + NOISE * jnp.std(z, axis=(1, 2, 3), keepdims=True) * eps


def reconstruct(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    source: Source,
    *,
    count: int,
    batch_size: int,
    lpips: LPIPSNetwork | None = None,
) -> Columns:
    """Encodes and decodes the first `count` images, each to the mode of its latents.

    Returns:
      "images" and "reconstructions" (n, h, w, c) in uint8; "psnr" in dB and "ssim" of these, "psnr_noised" of images
      decoded from latents with noise of `NOISE` of their standard deviation, and "lpips" where its network is given
      (n,); of a model with a codebook "codes" (n, h', w').

    Raises:
      InputError: the run is no autoencoder, or the batch does not split over the devices.
    """
    network, codec, split = experiment.part("autoencoder"), experiment.codec, over_batch(mesh)
    judge = None if lpips is None else jax.device_put(lpips.params, replicated(mesh))

    def run(params: Params, judge: Params | None, batch: dict[str, Array]) -> dict[str, Array]:
        images = codec.encode(batch["image"])
        z = network.mode(network.encode(params, images))
        decoded = network.decode(params, z)
        made = codec.decode(decoded, "rounded")
        found = {"images": batch["image"], "reconstructions": made}
        found |= {"psnr": psnr(batch["image"], made), "ssim": ssim(batch["image"], made)}
        of_noised = network.decode(params, _noised(z, batch["index"]))
        found["psnr_noised"] = psnr(batch["image"], codec.decode(of_noised, "rounded"))
        if lpips is not None:
            found["lpips"] = lpips.distance(judge, as_rgb(codec.encode(made)), as_rgb(images))
        return found if network.stochastic else found | {"codes": network.quantize(params, z).indices}

    jitted = jax.jit(run, out_shardings=split)
    return over_examples(
        lambda batch: jitted(params, judge, batch),
        source,
        mesh,
        count=count,
        batch_size=batch_size,
        key="reconstruct.batch_size",
    )


def decode(experiment: Experiment, params: Params, mesh: Mesh, folder: Path, *, count: int, batch_size: int) -> Columns:
    """Decodes the first `count` latents on disk (all if 0), each from its mode.

    Returns:
      "images" (n, h, w, c) in uint8 and "label" (n,).

    Raises:
      InputError: the run is no autoencoder, the latents are damaged or of another one, or the batch does not split over
        the devices.
    """
    network, codec = experiment.part("autoencoder"), experiment.codec
    source = open_latents(folder)
    if load_facts(folder).first_stage != hash_of(params):
        raise InputError(f"The latents in {folder} are of another autoencoder: give the workdir that encoded them.")

    def run(params: Params, batch: dict[str, Array]) -> dict[str, Array]:
        decoded = network.decode(params, network.mode(batch["image"]))
        return {"images": codec.decode(decoded, "rounded"), "label": batch["label"]}

    jitted = jax.jit(run, out_shardings=over_batch(mesh))
    return over_examples(
        lambda batch: jitted(params, batch),
        source,
        mesh,
        count=min(count or len(source), len(source)),
        batch_size=batch_size,
        key="decode.batch_size",
    )


def distances(
    columns: Columns, protocol: Protocol, extractor: FeatureExtractor, mesh: Mesh, *, batch_size: int
) -> dict[str, Any]:
    """Returns FID and the like of reconstructions against the images that they are of (rFID)."""

    made, real = (
        array_features(columns[name], mesh, extractor, batch_size, facts=facts_of(protocol, extractor))
        for name in ("reconstructions", "images")
    )
    return metrics.measure(protocol, generated=made, real=real, name=extractor.name, logits=extractor.logits)


def summary(columns: Columns) -> dict[str, Any]:
    """Returns means over the images; of a codebook how many entries are used, and the perplexity of their use."""
    found: dict[str, Any] = {"count": len(columns["index"])}
    for name in ("psnr", "psnr_noised", "ssim", "lpips"):
        if name in columns:
            values = columns[name].astype(np.float64)
            found[name] = float(values.mean())
            if len(values) > 1:
                found[f"{name}_standard_error"] = float(values.std(ddof=1) / len(values) ** 0.5)
    if "codes" in columns:
        share = np.bincount(columns["codes"].ravel()) / columns["codes"].size
        used = share[share > 0]
        found |= {"codes_used": len(used), "perplexity": float(np.exp(-(used * np.log(used)).sum()))}
    return found
