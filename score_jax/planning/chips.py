"""What a chip can do, as its maker publishes it."""

import dataclasses

from score_jax.errors import entry_of


@dataclasses.dataclass(frozen=True)
class Chip:
    """Rates of one jax device, which is a chip, or one of the parts that jax sees it as.

    Attributes:
      flops: bfloat16 matrix operations per second, dense.
      hbm_bytes: memory.
      hbm_rate: bytes per second between memory and the cores.
      link_rate: bytes per second that come to it from other chips of its slice, over all links.
      devices: jax devices of a chip.
    """

    flops: float
    hbm_bytes: int
    hbm_rate: float
    link_rate: float
    devices: int = 1


_GIB = 2**30
CHIPS = {
    "v4": Chip(275e12, 32 * _GIB, 1228e9, 300e9),
    "v5e": Chip(197e12, 16 * _GIB, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * _GIB, 2765e9, 600e9),
    "v6e": Chip(918e12, 32 * _GIB, 1640e9, 448e9),
    "tpu7x": Chip(2307e12 / 2, 95 * _GIB, 7380e9 / 2, 1200e9 / 4, devices=2),
}
"""Google Cloud's pages of TPU system architecture; links: interchip interconnect per chip.

Of a chip of TPU7x (Ironwood) docs.cloud.google.com/tpu/docs/tpu7x publishes 2307 TFLOP/s in bfloat16 (4614 in FP8,
which nothing here uses), 192 GiB at 7380 GB/s, links of 1200 GB/s in both directions together, and that programs see
it as two devices. Assumed: each device has half of all this, one direction has half of the links' rate, and the way
between the two, which is said to be faster than a link, is no faster. libtpu 0.0.41 gives a device 95 of its 96 GiB.
"""

_KINDS = {
    "TPU v4": CHIPS["v4"].flops,
    "TPU v5 lite": CHIPS["v5e"].flops,
    "TPU v5e": CHIPS["v5e"].flops,
    "TPU v5": CHIPS["v5p"].flops,
    "TPU v5p": CHIPS["v5p"].flops,
    "TPU v6 lite": CHIPS["v6e"].flops,
    "TPU v6e": CHIPS["v6e"].flops,
    "TPU7x": CHIPS["tpu7x"].flops,
    "A100": 312e12,
    "H100": 989e12,
    "H200": 989e12,
}
"""By jax's `device_kind`: as a whole for TPUs, a word of it for GPUs (SXM forms, dense)."""


def chip_named(name: str) -> Chip:
    """The chip of a slice such as "v5e".

    Raises:
      InputError: it is unknown.
    """
    return entry_of(CHIPS, "chip", name)


def peak_flops(device_kind: str) -> float | None:
    """Dense bfloat16 operations per second of a jax device; None where unknown, as on CPUs."""
    words = (device_kind, *device_kind.split())
    return next((_KINDS[word] for word in words if word in _KINDS), None)
