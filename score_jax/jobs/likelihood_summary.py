"""What the values of a likelihood say together: means, errors from every source, and the conventions behind them."""

import math
from typing import Any

import numpy as np

from score_jax.builder import Experiment
from score_jax.builder.likelihood import divergence_of
from score_jax.builder.likelihood_options import Exact
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.embeddings import ImageEmbeddings
from score_jax.codecs.latents import Latents
from score_jax.codecs.pixels import BITS, Pixels
from score_jax.jobs.likelihood_calibration import Calibration
from score_jax.jobs.likelihood_latents import latents_of
from score_jax.jobs.likelihood_ode import Measured, bits_name, start_of
from score_jax.likelihood.divergence import student_factor
from score_jax.runtime.parts import Columns

LATENT_NAME = "latent_bits_per_dim"
"""Of a density of latents in a summary; that of data is called bits per dimension of the data, `bpd_...`."""
NO_LEVELS = "none: numbers without levels"


def _mean(name: str, values: np.ndarray) -> dict[str, Any]:
    """The mean over examples, its standard error from every source that differs between examples, and the interval
    that covers it 95 times in 100, by Student's t of one degree of freedom less than there are examples."""
    mean, known = float(values.mean()), len(values) > 1
    error = float(values.std(ddof=1) / len(values) ** 0.5) if known else None
    interval = None
    if error is not None:
        half = student_factor(len(values) - 1) * error
        interval = [mean - half, mean + half]
    return {name: mean, f"{name}_standard_error": error, f"{name}_interval_95": interval}


def _of_probes(columns: Columns, c: Exact, per_nat: float) -> dict[str, Any]:
    """What the probes of the divergence add to the error of the mean over examples, bits/dim.

    Each example estimates its own from few probes; the degrees of freedom of all together are Welch's and
    Satterthwaite's, and the interval takes Student's t of them.
    """
    squares = (per_nat * columns["probe_standard_error"].mean(axis=1).astype(float)) ** 2
    error = float(np.sqrt(np.mean(squares) / len(squares)))
    if not np.isfinite(error):  # a single probe does not know
        return dict.fromkeys(("probes", "probes_degrees_of_freedom", "probes_half_width_95"))
    degrees, half_width = None, error
    if error > 0:
        degrees = divergence_of(c, "forward").degrees_of_freedom * float(squares.sum() ** 2 / (squares**2).sum())
        half_width = student_factor(degrees) * error
    return {"probes": error, "probes_degrees_of_freedom": degrees, "probes_half_width_95": half_width}


def of_what(experiment: Measured) -> dict[str, Any]:
    """What the density of x0 is one of, "data", "latents", "embeddings" or "codes", and in how many dimensions."""
    codec = experiment.codec
    found: dict[str, Any] = {"of": "data", "dimensions": math.prod(codec.shape(experiment.image_shape))}
    if isinstance(codec, Latents):
        draws = "a draw of the encoder's q(z | x)" if codec.stochastic else "what the encoder says before its codebook"
        found |= {"of": "latents", "x0": f"{codec.scale:g} z, where z is {draws}"}
    if isinstance(codec, ImageEmbeddings):
        found |= {"of": "embeddings", "x0": "embeddings of images, each number less its mean and over its deviation"}
    if isinstance(codec, EmbeddingCodes):
        components, buckets = codec.statistics.components, codec.statistics.buckets
        found |= {"of": "codes", "x0": f"{components} principal components, each in one of {buckets} buckets"}
    return found


def _conventions(experiment: Measured) -> dict[str, Any]:
    c, codec = experiment.likelihood, experiment.codec
    return {
        "dequantisation": NO_LEVELS
        if isinstance(codec, Latents | ImageEmbeddings | EmbeddingCodes)
        else getattr(c, "dequantization", "uniform"),
        "levels": 2**codec.bits if isinstance(codec, Pixels) else None,
        "data_range": list(codec.bounds),
        "offset_bits_per_dim": -codec.log_bin_width / float(np.log(2)),
        "conditions": "the class of each image" if experiment.conditional else "none",
        "matmul_precision": c.matmul_precision,
        "dtype": c.dtype,
        "network_dtype": experiment.network_dtype,
    }


def of_ode(columns: Columns, again: Columns | None, experiment: Measured) -> dict[str, Any]:
    """Summarises the exact likelihood; `again` are the values of the first examples at smaller tolerances."""
    c, found, bits = experiment.exact(), of_what(experiment), bits_name(experiment.codec)
    name = f"bpd_ode_{getattr(c, 'dequantization', 'uniform')}" if found["of"] == "data" else LATENT_NAME
    name += "_truncation_bound" if c.truncation == "bound" else ""
    per_nat = 1 / (found["dimensions"] * np.log(2))
    k = columns["log_prob"].shape[1]
    summary = {"method": "ode", **_mean(name, columns[bits]), **found}
    # Draws of latents are no dequantisation: the mean of their densities bounds nothing.
    if k > 1 and found["of"] == "data":
        summary |= _mean(f"{name}_iw{k}", columns[f"{bits}_iw"])
    drawn = "dequantisation" if found["of"] == "data" else "draws"
    errors = _of_probes(columns, c, per_nat) | {drawn: _of_draws(columns["log_prob"], per_nat)}
    return (
        summary
        | _of_solve(columns, again, experiment, bits, errors, per_nat)
        | {"conventions": _conventions(experiment)}
    )


def _of_draws(values: np.ndarray, per_nat: float) -> float | None:
    """What the draws of each example (n, k), nats, add to the error of the mean over examples, bits/dim."""
    n, k = values.shape
    return float(per_nat * np.sqrt(np.mean(values.var(axis=1, ddof=1)) / k / n)) if k > 1 else None


def _of_solver(errors: np.ndarray, per_nat: float) -> dict[str, float] | None:
    """What the solver estimates to have missed on a grid, bits/dim: an upper estimate; None of adaptive steps."""
    if not np.isfinite(errors).all():
        return None
    bits = per_nat * errors.astype(float)
    return {"mean": float(bits.mean()), "largest": float(bits.max())}


def _of_solve(
    columns: Columns, again: Columns | None, experiment: Measured, bits: str, errors: dict[str, Any], per_nat: float
) -> dict[str, Any]:
    """How the density was solved for, and by how much the result `bits` may be off."""
    c = experiment.exact()
    return {
        "estimator_standard_error": errors,
        "tolerance_sensitivity": None if again is None else _sensitivity(columns[bits], again[bits], c),
        "solver_error": _of_solver(columns["solver_error"], per_nat),
        "count": len(columns[bits]),
        "nfe_mean": float(columns["nfe"].mean()),
        "nfe_max": int(columns["nfe"].max()),
        "divergence": f"{c.divergence}, {c.probes} probes, {'fresh' if c.fresh_probes else 'fixed'}",
        "solver": f"{c.solver} {_steps(c)}",
        "t_min": start_of(experiment),
        "truncation": c.truncation,
        "importance_samples": c.importance_samples,
    }


def of_images(
    columns: Columns, again: Columns | None, experiment: Experiment, calibration: Calibration
) -> dict[str, Any]:
    """Summarises the bound on images: its mean over draws, that of all draws together, and its terms.

    bound = reconstruction + prior - entropy, in bits per dimension of the image; the rate is prior - entropy.
    """
    c, dim = experiment.exact(), math.prod(experiment.image_shape)
    per_nat, k = 1 / (dim * np.log(2)), columns["log_weight"].shape[1]
    summary = {"method": "images", **_mean("bpd_images_bound", columns["bits_per_dim"])}
    if k > 1:
        summary |= _mean(f"bpd_images_bound_iw{k}", columns["bits_per_dim_iw"])
    nats = {name: columns[name].astype(float).mean(axis=1) for name in ("reconstruction", "prior", "entropy")}
    terms = {"reconstruction": -nats["reconstruction"], "prior": -nats["prior"], "entropy": nats["entropy"]}
    for name, values in (terms | {"rate": terms["prior"] - terms["entropy"]}).items():
        summary |= _mean(f"bpd_of_{name}", per_nat * values)
    draws = _of_draws(columns["log_weight"], per_nat)
    errors = _of_probes(columns, c, per_nat) | {"draws": draws}
    latents = of_what(experiment)
    summary |= {"of": "images", "dimensions": dim, "latent_dimensions": latents["dimensions"]}
    summary |= {"spread_over_draws": _spread(columns["log_weight"], per_nat)}
    summary |= _of_solve(columns, again, experiment, "bits_per_dim", errors, per_nat)
    conventions = _conventions(experiment) | {
        "dequantisation": "none: the decoder gives the probability of a level",
        "levels": 2**BITS,
        "data_range": [0, 2**BITS - 1],
        "x0": f"{latents_of(experiment).scale:g} z, where z is a draw of q(z | x)",
    }
    return summary | {"calibration": calibration.to_dict(), "conventions": conventions}


def _spread(log_weights: np.ndarray, per_nat: float) -> dict[str, float] | None:
    """How unlike the draws of an image are: the standard deviation of log w, bits/dim, and how many draws of equal
    weight would say as much, both as means over images; of one draw None."""
    if log_weights.shape[1] == 1:
        return None
    weights = np.exp(log_weights.astype(float) - log_weights.max(axis=1, keepdims=True))
    effective = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
    deviation = float(per_nat * log_weights.astype(float).std(axis=1, ddof=1).mean())
    return {"standard_deviation": deviation, "effective_draws": float(effective.mean())}


def _steps(c: Exact) -> str:
    if c.on_grid:
        return f"{c.num_steps} steps, even in log-SNR"
    return f"rtol={c.rtol} atol={c.atol}, steps of each {c.control}, in {c.chosen_variable}"


def _sensitivity(bits: np.ndarray, again: np.ndarray, c: Exact) -> dict[str, Any]:
    """What ten times smaller tolerances, or twice the steps, change, bits/dim, with the same noise and probes."""
    change = again - bits[: len(again)]
    closer = {"num_steps": 2 * c.num_steps} if c.on_grid else {"rtol": c.rtol / 10, "atol": c.atol / 10}
    return {
        **closer,
        "count": len(change),
        "mean_change": float(change.mean()),
        "largest_change": float(np.abs(change).max()),
    }


def _variance(experiment: Experiment) -> str:
    """Of the reverse kernels."""
    if "predictor" not in experiment.parts:
        return "learned with the kernels"
    return experiment.variance if experiment.likelihood.variance == "auto" else experiment.likelihood.variance


def _of_chain(columns: Columns, experiment: Experiment) -> dict[str, Any]:
    c = experiment.likelihood
    levels = columns["terms"].shape[1] if "terms" in columns else columns["kl"].shape[1] + 1
    return {
        "count": len(columns["index"]),
        "nfe_mean": float(levels),
        "nfe_max": levels,
        "num_levels": levels,
        "variance": _variance(experiment),
        "clip": c.clip and "predictor" in experiment.parts,
        "conventions": _conventions(experiment),
    }


def of_vlb(columns: Columns, experiment: Experiment) -> dict[str, Any]:
    """Summarises the variational bound."""
    summary = {"method": "vlb", **_mean("bpd_vlb", columns["bits_per_dim"]), **_of_chain(columns, experiment)}
    summary["conventions"]["dequantisation"] = "none: the last step gives the probability of a level"
    parts = {"prior": columns["prior"].mean(), "decoder": columns["terms"][:, -1].mean()}
    return summary | {f"bpd_of_{name}": float(value) for name, value in parts.items()}


def of_bound(columns: Columns, experiment: Experiment) -> dict[str, Any]:
    """Summarises the bound K."""
    found = of_what(experiment)
    name = "bpd_bound_uniform" if found["of"] == "data" else f"{LATENT_NAME}_bound"
    summary = {"method": "bound", **_mean(name, columns[bits_name(experiment.codec)]), **found}
    summary |= {"bpd_of_prior_alone": float(columns["null_bits_per_dim"].mean())}
    # As the paper has it: bits of a whole example, of the density of x0.
    dim, offset = found["dimensions"], experiment.codec.log_bin_width / float(np.log(2))
    k, null = (-dim * (columns[name] + offset) for name in ("equation_14_bits_per_dim", "null_bits_per_dim"))
    summary |= _mean("K_bits", k) | _mean("K_over_null_bits", k - null)
    return summary | _of_chain(columns, experiment)


def of_codes(columns: Columns, experiment: Experiment) -> dict[str, Any]:
    """Summarises the probability of codes, of which each could have at most log2 of the number of buckets."""
    found, name = of_what(experiment), bits_name(experiment.codec)
    summary = {"method": "codes", **_mean(name, columns[name]), **found, "count": len(columns[name]), "nfe_mean": 1.0}
    return summary | _mean("log_prob_nats", columns["log_prob"]) | {"conventions": _conventions(experiment)}


def measured(summary: dict[str, Any]) -> list[str]:
    """Returns the keys of the numbers of a summary that have a standard error, known or not."""
    return [key for key in summary if f"{key}_standard_error" in summary]


def headline(summary: dict[str, Any]) -> tuple[float, float | None]:
    """Returns the number that a summary is read for, bits/dim of what it is `of`, and its standard error."""
    name = measured(summary)[0]
    return summary[name], summary[f"{name}_standard_error"]
