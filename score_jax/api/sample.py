"""`score_jax.sample` and `score_jax.sampler`: samples of anyone's model, by any of our solvers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from score_jax.api.arguments import class_labels, key_of, over_devices, shape_of
from score_jax.builder.options import make_method
from score_jax.builder.sampler_options import SAMPLERS
from score_jax.builder.sampling import build_sampling
from score_jax.errors import InputError, counted, plural
from score_jax.jobs.draw_function import Range, pixels_of
from score_jax.jobs.function_model import LABEL, TimeConvention, function_model
from score_jax.jobs.given_conditions import GivenConditions, given_conditions
from score_jax.jobs.sample import drawn_batches
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.runtime.parts import joined
from score_jax.runtime.sharding import make_mesh, over_batch, replicated
from score_jax.typing import Params

Model = Callable[..., Any]


def sampler(
    model: Model,
    process: NoiseSchedule,
    shape: tuple[int, ...],
    *,
    output: str = "eps",
    time: TimeConvention = None,
    conditional: bool = False,
    conditions: Any = None,
    value_range: Range | None = None,
    solver: str = "heun",
    **options: Any,
) -> Callable[..., Float[Array, "b ..."]]:
    """Returns `draw(key, indices, labels=None) -> x` (b, *shape), sample i of the key and i alone, as `evaluate` asks.

    Args:
      model: `model(x, t)` of x (b, *shape) and times (b,), or `model(x, t, labels)`, or `model(x, t, conditions)`.
      process: as of `log_prob`.
      shape: of one sample.
      output: as of `log_prob`.
      time: as of `log_prob`.
      conditional: the model is given labels.
      conditions: the model is given such ones, which `draw` gets in place of labels: a pytree of arrays (n, ...), such
        as that which `evaluate` is given, of which shapes and dtypes alone count here.
      value_range: that of the data, to which samples are clipped; None: they are not.
      solver: a method of `python -m score_jax help sampler`, such as heun, ddim, dpm_solver_2m, euler_maruyama, ode.
      options: keys of `python -m score_jax help sampler SOLVER`, such as num_steps.

    Returns:
      The function, which compiles once for each number of indices; where a solve gave up its samples are NaN.

    Raises:
      InputError: a solver or an option is unknown or does not go with the process, or the model gives no batch like x.

    Source: of each solver, in its docstring in score_jax/samplers.

    >>> import jax, jax.numpy as jnp, score_jax as sj
    >>> draw = sj.sampler(lambda x, t: -x, sj.VP(), (2,), output="score", num_steps=16)  # of N(0, I)
    >>> one, both = draw(jax.random.key(0), jnp.array([1])), draw(jax.random.key(0), jnp.arange(2))
    >>> both.shape, bool(jnp.allclose(one[0], both[1], atol=1e-5))
    ((2, 2), True)
    """
    mesh = make_mesh(devices=jax.local_devices())
    if conditional and conditions is not None:
        raise InputError("conditional=True is of labels: where conditions are given, put labels among them.")
    given = LABEL if conditional else conditions
    if conditions is not None:
        given = given_conditions(conditions, _rows(conditions)).of_one
    each = shape_of(shape, samples=False)
    drawn = _drawn_by(model, process, each, mesh, output, time, given, value_range, solver, options)

    def draw(key: Array, indices: Int[Array, "b"], labels: Any = None) -> Float[Array, "b ..."]:
        _check_given(given, labels, len(indices))
        return drawn(key, indices, labels)["x"]

    return draw


def sample(
    model: Model,
    process: NoiseSchedule,
    shape: tuple[int, ...],
    key: Array | int = 0,
    *,
    output: str = "eps",
    time: TimeConvention = None,
    labels: Int[np.ndarray, "n"] | None = None,
    conditions: Any = None,
    batch_size: int | None = None,
    value_range: Range | None = None,
    solver: str = "heun",
    **options: Any,
) -> Float[np.ndarray, "n ..."]:
    """Draws samples of a model, sample i of the key and i alone.

    Args:
      model: as of `sampler`.
      process: as of `sampler`.
      shape: of all samples together, their number first.
      key: a key, or the seed of one.
      output: as of `sampler`.
      time: as of `sampler`.
      labels: a class of each, which the model is given.
      conditions: instead of labels, what the model is given of each: an array (n, ...), or a pytree of them.
      batch_size: at a time, over all devices together; None: all.
      value_range: as of `sampler`.
      solver: as of `sampler`.
      options: as of `sampler`.

    Raises:
      InputError: as of `sampler`, or samples are not finite.

    Source: as of `sampler`.

    >>> import score_jax as sj
    >>> x = sj.sample(lambda x, t: -x, sj.VP(), (1000, 2), output="score", num_steps=16)  # of N(0, I)
    >>> x.shape, bool(abs(x.std() - 1) < 0.05)
    ((1000, 2), True)
    """
    count, *each = shape_of(shape, samples=True)
    mesh, key = make_mesh(), key_of(key)
    size, given = over_devices(batch_size, count, mesh.size), _given(labels, conditions, count)
    of_one = None if given is None else given.of_one
    drawn = _drawn_by(model, process, tuple(each), mesh, output, time, of_one, value_range, solver, options)

    def batch(indices: np.ndarray, rows: np.ndarray) -> tuple[dict[str, Array], Array]:
        return drawn(key, indices, None if given is None else given.rows(rows)), jnp.zeros(0)

    found = joined(list(drawn_batches(batch, mesh, np.arange(count, dtype=np.int32), batch_size=size)))
    finite = np.isfinite(found["x"].reshape(count, -1)).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{(~finite).sum()} of {counted(count, 'sample')} "
            f"{plural(int((~finite).sum()), 'is', 'are')} not finite (the first is number {int(np.argmin(finite))}): "
            "look for numbers that are not finite in the model, give more steps, or a larger t_min."
        )
    return found["x"]


def _rows(conditions: Any) -> int:
    """Of the first array of conditions; 0 where it has none."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(conditions)]
    return shapes[0][0] if shapes and shapes[0] else 0


def _check_given(of_one: Any, rows: Any, count: int) -> None:
    """Raises InputError where what a model is given of so many samples is not what the sampler was made for."""
    if of_one is None:
        return  # the labels of `evaluate`, which the model does not see
    if of_one is LABEL:
        if np.shape(rows) != (count,):
            raise InputError(f"labels have shape {np.shape(rows)}: expected a class of each, ({count},).")
        return
    made_for, found = _shapes(of_one), _shapes(rows)
    if list(made_for) != list(found):
        raise InputError(f"conditions have {list(found)}: expected {list(made_for)}, as the sampler was made.")
    for name, shape in found.items():
        if shape != (count, *made_for[name]):
            wanted = (count, *made_for[name])
            raise InputError(f"conditions{name} has shape {shape}: expected {wanted}, as the sampler was made.")


def _shapes(arrays: Any) -> dict[str, tuple[int, ...]]:
    """Of the arrays of a pytree, by what stands behind its name for each."""
    return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)}


def _given(labels: Any, conditions: Any, count: int) -> GivenConditions | None:
    """What the model is given of each sample beside x and its time."""
    if labels is None:
        return None if conditions is None else given_conditions(conditions, count)
    if conditions is not None:
        raise InputError("labels and conditions: the model is given one of them, so put labels among the conditions.")
    return GivenConditions(class_labels(labels, count))


def _drawn_by(
    model: Model,
    process: NoiseSchedule,
    shape: tuple[int, ...],
    mesh: Mesh,
    output: str,
    time: TimeConvention,
    given: Any,
    value_range: Range | None,
    solver: str,
    options: dict[str, Any],
) -> Callable[[Array, Any, Any], dict[str, Array]]:
    """`drawn(key, indices, conditions)`: "x" of the samples, and "nfe", sharded over the mesh."""
    c: Any = make_method("sampler", SAMPLERS, {"name": solver, **options})
    codec = pixels_of((-1, 1) if value_range is None else value_range)
    known, params = function_model(model, process, shape, codec, mesh, output=output, time=time, given=given)
    sampling: Any = build_sampling(c, known.facts)

    @jax.jit
    def program(params: Params, key: Array, indices: Array, rows: Any) -> dict[str, Array]:
        predictor = sampling.see(known.predictor(params))
        conditions = {"model": None if given is None else rows}
        drawn = sampling.draw(predictor, key=key, indices=indices, shape=known.image_shape, conditions=conditions)
        x = drawn.x if value_range is None else jnp.clip(drawn.x, *codec.bounds)
        x = jnp.where(drawn.ok.reshape(-1, 1, 1, 1), x, jnp.nan)
        return {"x": x.reshape(-1, *shape), "nfe": drawn.nfe}

    def placed(array: Any) -> Array:
        return jax.device_put(array, over_batch(mesh) if len(array) % mesh.size == 0 else replicated(mesh))

    return lambda key, indices, rows: program(params, key, placed(indices), jax.tree.map(placed, rows))
