"""What the values of a likelihood say together: means, errors from every source, and the conventions behind them."""

from typing import Any

import numpy as np

from score_jax.builder import Experiment
from score_jax.builder.likelihood import divergence_of
from score_jax.builder.likelihood_options import Exact
from score_jax.codecs.pixels import Pixels
from score_jax.likelihood.divergence import student_factor
from score_jax.runtime.parts import Columns


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


def _conventions(experiment: Experiment) -> dict[str, Any]:
    c, codec = experiment.likelihood, experiment.codec
    return {
        "dequantisation": getattr(c, "dequantization", "uniform"),
        "levels": 2**codec.bits if isinstance(codec, Pixels) else None,
        "data_range": list(codec.bounds),
        "offset_bits_per_dim": -codec.log_bin_width / float(np.log(2)),
        "conditions": "the class of each image" if experiment.num_classes else "none",
        "matmul_precision": c.matmul_precision,
        "dtype": c.dtype,
        "network_dtype": experiment.config.network.get("dtype", "float32"),
    }


def of_ode(columns: Columns, again: Columns | None, experiment: Experiment) -> dict[str, Any]:
    """Summarises the exact likelihood; `again` are the values of the first examples at smaller tolerances."""
    c = experiment.exact()
    name = f"bpd_ode_{c.dequantization}" + ("_truncation_bound" if c.truncation == "bound" else "")
    per_nat = 1 / (np.prod(experiment.image_shape) * np.log(2))
    n, k = columns["log_prob"].shape
    summary = {"method": "ode", **_mean(name, columns["bits_per_dim"])}
    if k > 1:
        summary |= _mean(f"{name}_iw{k}", columns["bits_per_dim_iw"])
    probes = _of_probes(columns, c, per_nat)
    spread = per_nat * np.sqrt(np.mean(columns["log_prob"].var(axis=1, ddof=1)) / k / n) if k > 1 else None
    summary |= {
        "estimator_standard_error": probes | {"dequantisation": None if spread is None else float(spread)},
        "tolerance_sensitivity": None if again is None else _sensitivity(columns, again, c),
        "count": n,
        "nfe_mean": float(columns["nfe"].mean()),
        "nfe_max": int(columns["nfe"].max()),
        "divergence": f"{c.divergence}, {c.probes} probes, {'fresh' if c.fresh_probes else 'fixed'}",
        "solver": f"{c.solver} {_steps(c)}",
        "t_min": c.t_min,
        "truncation": c.truncation,
        "importance_samples": k,
        "conventions": _conventions(experiment),
    }
    return summary


def _steps(c: Exact) -> str:
    if c.control == "grid":
        return f"{c.num_steps} steps, even in log-SNR"
    return f"rtol={c.rtol} atol={c.atol}, steps of each {c.control}"


def _sensitivity(columns: Columns, again: Columns, c: Exact) -> dict[str, Any]:
    """What ten times smaller tolerances, or twice the steps, change, bits/dim, with the same noise and probes."""
    change = again["bits_per_dim"] - columns["bits_per_dim"][: len(again["index"])]
    closer = {"num_steps": 2 * c.num_steps} if c.control == "grid" else {"rtol": c.rtol / 10, "atol": c.atol / 10}
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
    summary = {"method": "bound", **_mean("bpd_bound_uniform", columns["bits_per_dim"])}
    summary |= {"bpd_of_prior_alone": float(columns["null_bits_per_dim"].mean())}
    # As the paper has it: bits of a whole example, of the density of x0.
    dim, offset = np.prod(experiment.image_shape), experiment.codec.log_bin_width / float(np.log(2))
    k, null = (-dim * (columns[name] + offset) for name in ("equation_14_bits_per_dim", "null_bits_per_dim"))
    summary |= _mean("K_bits", k) | _mean("K_over_null_bits", k - null)
    return summary | _of_chain(columns, experiment)


def headline(summary: dict[str, Any]) -> tuple[float, float | None]:
    """Returns the number that a summary is read for, bits/dim, and its standard error."""
    name = next(key for key in summary if key.startswith("bpd_"))
    return summary[name], summary[f"{name}_standard_error"]
