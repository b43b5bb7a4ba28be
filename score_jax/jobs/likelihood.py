"""`likelihood`: exact bits per dimension of a data set under a trained model, every example once."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int
from ml_collections import ConfigDict
from tqdm import tqdm

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.builder import Experiment
from score_jax.data.loader import eval_batches
from score_jax.data.sources import Source
from score_jax.data.transforms import dequantize, log_bin_width
from score_jax.errors import InputError
from score_jax.jobs.results import provenance, write_arrays, write_json
from score_jax.likelihood import bits_per_dim, log_likelihood
from score_jax.processes.gaussian import GaussianProcess
from score_jax.training.sharding import check_divisible, over_batch, replicated
from score_jax.typing import Params

_FIELDS = ("bits_per_dim", "log_prob", "prior_log_prob", "divergence", "nfe", "ok")


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """Per-example values of `count` examples, in the order of the data set.

    Attributes:
      index: place of the example in its split.
      bits_per_dim: with uniform dequantisation.
      log_prob: of the dequantised image in the model's range, nats: prior_log_prob + divergence.
      prior_log_prob: of the latent.
      divergence: the integral along the path.
      nfe: evaluations per example.
    """

    index: Int[np.ndarray, "n"]
    bits_per_dim: Float[np.ndarray, "n"]
    log_prob: Float[np.ndarray, "n"]
    prior_log_prob: Float[np.ndarray, "n"]
    divergence: Float[np.ndarray, "n"]
    nfe: Int[np.ndarray, "n"]

    def mean_and_standard_error(self) -> tuple[float, float]:
        """Mean bits/dim, and its standard error over examples (probe and dequantisation noise included)."""
        return float(self.bits_per_dim.mean()), float(self.bits_per_dim.std(ddof=1) / len(self.bits_per_dim) ** 0.5)


def measure(experiment: Experiment, params: Params, mesh: Mesh, source: Source, config: ConfigDict) -> Likelihood:
    """Bits/dim of `source`, of its first `config.likelihood.num_examples` if that is not 0.

    Raises:
      InputError: the process is a chain of levels, the batch does not split over the devices, or a solve gave up.
    """
    process = experiment.process
    if not isinstance(process, GaussianProcess):
        raise InputError("A chain of levels has no ODE: give --config.process.name=vp for vp_chain, ve for ve_chain.")
    c = config.likelihood
    check_divisible(c.batch_size, mesh, "likelihood.batch_size")
    count = min(c.num_examples or len(source), len(source))
    dim = int(np.prod(experiment.image_shape))

    def one_batch(params: Params, key, images, labels, indices):
        keys = keys_per_example(key, indices)
        result = log_likelihood(
            experiment.predictor(params, labels),
            process,
            fold_in_each(keys, 0),
            dequantize(fold_in_each(keys, 1), images, experiment.value_range),
            divergence=c.divergence,
            ode=experiment.likelihood_ode,
            t_min=c.t_min,
        )
        bits = bits_per_dim(result.log_prob, dim, log_bin_width(experiment.value_range, 8))
        return {"bits_per_dim": bits} | {name: getattr(result, name) for name in _FIELDS[1:]}

    split = over_batch(mesh)
    jitted = jax.jit(one_batch, in_shardings=(replicated(mesh), None, split, split, split), out_shardings=split)
    key, rows, seen = jax.random.key(c.seed), [], []
    batches = eval_batches(source, c.batch_size, jax.process_index(), jax.process_count(), count=count)
    with jax.default_matmul_precision("highest"), tqdm(total=count, desc="likelihood", unit="image") as bar:
        for batch in batches:
            arrays = (batch["image"], batch["label"], batch["index"].astype(np.int32))
            result = jax.device_get(jitted(params, key, *arrays))
            mask = batch["mask"]
            rows.append({name: value[mask] for name, value in result.items()})
            seen.append(batch["index"][mask])
            bar.update(int(mask.sum()))
            bar.set_postfix(bits_per_dim=f"{np.concatenate([r['bits_per_dim'] for r in rows]).mean():.3f}")
    index = np.concatenate(seen)
    columns = {name: np.concatenate([row[name] for row in rows]) for name in _FIELDS}
    assert len(np.unique(index)) == len(index) == count
    if not columns.pop("ok").all():
        raise InputError(
            f"An ODE solve gave up after {experiment.likelihood_ode.max_steps} steps: loosen likelihood.rtol and "
            "likelihood.atol, or raise likelihood.t_min."
        )
    return Likelihood(index=index, **columns)


def save(path: Path, result: Likelihood, config: ConfigDict, step: int, fingerprint: str) -> dict:
    """Writes `path`.json (the summary, returned) and `path`.npz (per example)."""
    mean, error = result.mean_and_standard_error()
    c = config.likelihood
    summary = {
        "bpd_ode_uniform": mean,
        "bpd_ode_uniform_standard_error": error,
        "count": len(result.index),
        "nfe_mean": float(result.nfe.mean()),
        "nfe_max": int(result.nfe.max()),
        "divergence": c.divergence,
        "solver": f"{c.solver} rtol={c.rtol} atol={c.atol}, own steps per example",
        "t_min": c.t_min,
        "matmul_precision": "highest",
        **provenance(step=step, seed=c.seed, data=fingerprint),
    }
    write_arrays(path.with_suffix(".npz"), dataclasses.asdict(result))
    write_json(path.with_suffix(".json"), summary)
    return summary
