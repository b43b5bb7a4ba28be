"""Where arrays live: one mesh, made here only."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from score_jax.errors import InputError


def make_mesh() -> Mesh:
    """All devices of all processes along one axis, "data". Auto axes: diffrax does not run on Explicit ones."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_batch(mesh: Mesh) -> NamedSharding:
    """The leading axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_divisible(batch_size: int, mesh: Mesh, key: str) -> None:
    """Raises InputError unless a batch can be split evenly; `key` is the config key that says its size."""
    if batch_size % mesh.size:
        raise InputError(
            f"{key}={batch_size} cannot be split over {mesh.size} devices: make it a multiple of {mesh.size}."
        )
