"""Sums and copies over all devices of this process."""

import jax
import numpy as np
from jaxtyping import Array

from score_jax.runtime.sharding import make_mesh, over_batch, replicated
from score_jax.self_test.check import Check, Measured, compared, largest

_ROWS = 3
"""Of each device."""


def _total_and_copy(x: Array) -> tuple[Array, Array]:
    return x.sum(axis=0), x


def collectives() -> Measured:
    """The sum of what devices hold, and all of it gathered, are the same and right on every device.

    Of whole numbers, device d of n holding d + 1: exact, bound 0.
    """
    mesh = make_mesh(devices=jax.local_devices())
    count = mesh.size
    held = np.repeat(np.arange(1.0, count + 1), _ROWS)[:, None] * np.array([[1.0, 2.0]])
    reduce = jax.jit(_total_and_copy, out_shardings=replicated(mesh))
    total, copies = reduce(jax.device_put(held.astype(np.float32), over_batch(mesh)))
    want = _ROWS * count * (count + 1) / 2 * np.array([1.0, 2.0])
    measured = []
    for sums, copied in zip(total.addressable_shards, copies.addressable_shards, strict=True):
        measured.append(compared(sums.data, want, 1.0, 0.0, f"of the sum on {sums.device}"))
        measured.append(compared(copied.data, held, 1.0, 0.0, f"of what is gathered on {copied.device}"))
    return largest(*measured)


CHECKS = (
    Check(
        "sums over devices",
        collectives,
        "Sums over devices are wrong, and so is training on more than one",
        "use one device, or install other drivers or another release of jax",
    ),
)
