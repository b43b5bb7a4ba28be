"""Where arrays live: one mesh, made here only.

The batch is split over all devices. Parameters, their average and the optimizer's state are copied along "data" and
split along "fsdp", where they are large; the compiler gathers each weight when it is used (Rajbhandari et al. 2020,
ZeRO stage 3).
"""

import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from score_jax.errors import InputError

_SMALL = 2**14
"""Elements up to which an array is copied: to gather it would cost more than it saves."""


def make_mesh(fsdp: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """All devices of all processes, as "data" x "fsdp". Auto axes: diffrax does not run on Explicit ones.

    Args:
      fsdp: devices that share one copy of the parameters; 0: all of them.
      devices: instead of those of this run.

    Raises:
      InputError: the devices do not split into groups of `fsdp`.
    """
    count = jax.device_count() if devices is None else len(devices)
    group = count if fsdp == 0 else fsdp
    if group < 0 or count % group:
        raise InputError(f"training.fsdp={fsdp} does not divide {count} devices: give a divisor, 1 (off) or 0 (all).")
    shape, names = (count // group, group), ("data", "fsdp")
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that places the same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that splits the leading axis over the devices."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def sharded_by_size(shapes: PyTree, mesh: Mesh) -> PyTree:
    """Shardings of a tree of arrays: each split over "fsdp" along its longest axis that divides, small ones copied.

    The rule sees shapes alone, so parameters, their average and the optimizer's moments are split alike.

    Args:
      shapes: arrays, or `jax.ShapeDtypeStruct`s.
      mesh: of `make_mesh`.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _split(leaf.shape, mesh.shape["fsdp"])), shapes)


def gathered(tree: PyTree, mesh: Mesh) -> PyTree:
    """Whole on every device, within a jitted function.

    Without it the compiler follows the weights and splits activations by their channels, which travel further.
    """
    return jax.lax.with_sharding_constraint(tree, replicated(mesh))


def _split(shape: tuple[int, ...], group: int) -> PartitionSpec:
    fits = [axis for axis, length in enumerate(shape) if length % group == 0]
    if group == 1 or not fits or math.prod(shape) <= _SMALL:
        return PartitionSpec()
    longest = max(fits, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*("fsdp" if axis == longest else None for axis in range(len(shape))))


def check_divisible(batch_size: int, mesh: Mesh, key: str, accumulate: int = 1) -> None:
    """Raises InputError unless a batch can be split evenly over the devices, `accumulate` times.

    `key` is the config key that says its size.
    """
    parts = mesh.size * accumulate
    if batch_size % parts:
        times = f" x training.accumulate={accumulate}" if accumulate > 1 else ""
        raise InputError(
            f"{key}={batch_size} cannot be split over {mesh.size} devices{times}: make it a multiple of {parts}."
        )
