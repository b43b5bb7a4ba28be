"""What `sampler.variance=analytic` must know of a trained model: measured once, kept in its workdir.

WORKDIR/analytic_variance/STEP_HASH.json    the moments, and of what they are: the hash is of that

They are of the model as it is trained, without guidance, in the sampler's coordinates and with its bounds on x0: over
the first examples of training, with their conditions, and noise of the sampler's levels (Bao et al. 2022, section 3).
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from score_jax.arrays import fold_in_each, keys_per_example, sum_per_example
from score_jax.builder import Experiment, Sampling
from score_jax.data.loader import prefetch_to_device
from score_jax.errors import InputError
from score_jax.jobs.train import open_training, training_batches
from score_jax.prediction.analytic_variance import Moments, moments_of, squared_eps
from score_jax.prediction.predictor import with_conditions
from score_jax.runtime.multihost import first_says, on_first_process, on_first_then_all, print_once
from score_jax.runtime.parts import gathered, joined
from score_jax.runtime.results import write_json
from score_jax.runtime.sharding import over_batch
from score_jax.samplers.sample import FixedSteps
from score_jax.training.weights import parameters_name
from score_jax.typing import KeyArray, Params

FOLDER = "analytic_variance"
_STREAM = 0xA7A17


def with_moments(experiment: Experiment, moments: Moments) -> Experiment:
    """Returns the experiment with these moments at the times of its sampler."""
    return dataclasses.replace(experiment, moments=moments)


def with_measured(experiment: Experiment, params: Params, workdir: Path, step: int, mesh: Mesh) -> Experiment:
    """Returns the experiment with its moments, if its sampler takes any: those of the workdir, or measured and kept.

    On all processes.

    Args:
      experiment: the model and its sampler.
      params: its parameters, as `with_frozen` returns them.
      workdir: of its run.
      step: of the parameters.
      mesh: all devices.

    Raises:
      InputError: the file in the workdir is damaged, the training data is not there, or what is measured is not finite.
    """
    if not experiment.needs_moments:
        return experiment
    of = _facts(experiment, workdir, step)
    path = _path_of(workdir, of)
    if first_says(path.is_file()):
        return with_moments(experiment, _read(path))
    print_once(
        f"Measuring the analytic variance of {len(of['alphas'])} steps on {of['examples']} examples of "
        f"{of['data']}: {path}"
    )
    moments = measured(experiment, params, mesh)
    values = {name: np.asarray(value).tolist() for name, value in dataclasses.asdict(moments).items()}
    on_first_process(lambda: write_json(path, values | {"of": of}))
    return with_moments(experiment, moments)


def copy_moments(workdir: Path, out: Path, step: int, parameters: str) -> None:
    """Copies what was measured of these parameters into a folder that holds nothing but them, where their step is 0.

    Args:
      workdir: of their run.
      out: the folder; what was measured there of others is removed.
      step: of the parameters.
      parameters: which they are, as `weights.parameters_name` says.

    Raises:
      InputError: a file is damaged.
    """
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    for path in sorted((workdir / FOLDER).glob(f"{step}_*.json")):
        _read(path)
        values = json.loads(path.read_text())
        of = values.get("of", {})
        if (of.get("step"), of.get("parameters")) == (step, parameters):
            there = of | {"step": 0}
            write_json(_path_of(out, there), values | {"of": there})


def _path_of(workdir: Path, of: Mapping[str, Any]) -> Path:
    """The file of moments of this."""
    digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]
    return workdir / FOLDER / f"{of['step']}_{digest}.json"


def measured(experiment: Experiment, params: Params, mesh: Mesh) -> Moments:
    """Returns the moments of a model at the times of its sampler, over `sampler.variance_examples` of its training.

    Arguments and errors are those of `with_measured`.
    """
    config, times = experiment.config, _walked(experiment)[1]
    examples = config.sampler.variance_examples
    batch_size = mesh.size * -(-config.sampling.batch_size // mesh.size)
    source = on_first_then_all(functools.partial(open_training, experiment))
    batches = prefetch_to_device(training_batches(config, source, batch_size), over_batch(mesh), depth=1)
    program, key = _program(experiment, mesh), jax.random.fold_in(jax.random.key(config.seed), _STREAM)
    count = -(-examples // batch_size)
    found = joined(
        [
            gathered(program(params, jax.random.fold_in(key, number), batch), batch_size)
            for number, (batch, _) in enumerate(itertools.islice(batches, count))
        ]
    )
    return moments_of(np.asarray(times), found["squared_eps"][:examples], found["squared_x0"][:examples])


def supposed(experiment: Experiment) -> Experiment:
    """Returns the experiment with moments of nothing, for programs whose results are not looked at."""
    if not experiment.needs_moments:
        return experiment
    times = np.asarray(_walked(experiment)[1])
    return with_moments(experiment, Moments(times, np.full(len(times), 0.5), 1.0))


def _walked(experiment: Experiment) -> tuple[Sampling, Float[Array, "n"]]:
    """How the model is sampled, and the times from which its steps begin."""
    sampling = experiment.sampling()
    assert isinstance(sampling, Sampling)
    method = sampling.sampler.method
    assert isinstance(method, FixedSteps)
    return sampling, method.grid[:-1]


def _program(experiment: Experiment, mesh: Mesh) -> Callable[..., dict[str, Array]]:
    """Jitted: of parameters, a key and a batch of training data the numbers of each example, sharded over the mesh."""
    sampling, times = _walked(experiment)
    drawn = experiment.config.data.dequantize or experiment.codec.stochastic

    def measure(params: Params, key: KeyArray, batch: Mapping[str, Array]) -> dict[str, Array]:
        keys, coder = keys_per_example(key, batch["index"]), experiment.codec_with(params)
        x0 = coder.dequantize(fold_in_each(keys, 0), batch["image"]) if drawn else coder.encode(batch["image"])
        given = {"model": experiment.conditions(params, batch, x0)}
        predictor = with_conditions(sampling.see(experiment.predictor(params)), given)
        return {
            "squared_eps": squared_eps(predictor, sampling.process, times, x0, fold_in_each(keys, 1)),
            "squared_x0": sum_per_example(x0**2) / x0[0].size,
        }

    return jax.jit(measure, out_shardings=over_batch(mesh))


def _facts(experiment: Experiment, workdir: Path, step: int) -> dict[str, Any]:
    """What moments depend on, JSON-able."""
    sampling, times = _walked(experiment)
    config, process = experiment.config, sampling.process
    return {
        "step": step,
        "parameters": parameters_name(workdir),
        "alphas": np.asarray(process.alpha(times), float).tolist(),
        "sigmas": np.asarray(process.sigma(times), float).tolist(),
        "threshold": config.sampler.threshold,
        "examples": config.sampler.variance_examples,
        "data": f"{config.data.name}:{config.data.train_split}",
        "seed": config.seed,
    }


def _read(path: Path) -> Moments:
    """The moments of a file.

    Raises:
      InputError: it is damaged.
    """
    try:
        found = json.loads(path.read_text())
        times, means = (np.asarray(found[name], float) for name in ("times", "mean_squared_eps"))
        return Moments(times, means, float(found["mean_squared_x0"]))
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"{path} is damaged: remove it, and it is measured again.") from error
