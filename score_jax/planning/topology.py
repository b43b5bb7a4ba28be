"""The devices of a TPU slice that is not there, for the real compiler, which is."""

import importlib.metadata
import math
import os
import re
from collections.abc import Sequence

import jax

from score_jax.errors import InputError
from score_jax.planning.chips import CHIPS, Chip, chip_named

_NOT_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""So that libtpu does not ask the network which TPU this is."""


def slice_devices(topology: str) -> tuple[Sequence[jax.Device], Chip]:
    """The devices of a slice such as "v5e:4x4" or "tpu7x:2x2x1", to compile for, and what one of them can do.

    Raises:
      InputError: there is no such slice, or libtpu is not installed or not the one that this jax needs.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", topology)
    if match is None:
        raise InputError(f"Topology {topology!r}: expected CHIP:SHAPE as in v5e:4x4 or v5p:2x2x2, of {sorted(CHIPS)}.")
    chip = chip_named(match[1])
    for name, value in _NOT_HERE.items():
        os.environ.setdefault(name, value)
    _check_compiler()
    from jax.experimental import topologies

    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        mend = "`pip install -e '.[tpu]'` brings the TPU compiler; shapes are those that the cloud rents"
        raise InputError(f"No compiler for a {topology} slice: {reason}. {mend}.") from error
    expected = math.prod(map(int, match[2].split("x"))) * chip.devices
    if len(devices) != expected:  # of v4, whose two cores are one device on the chip itself
        found = f"The TPU compiler has {len(devices)} devices for a {topology} slice, which has {expected}"
        raise InputError(f"{found}: plan for another chip.")
    return devices, chip


def _check_compiler() -> None:
    """Raises InputError where libtpu is of another version than this jax names: it may write what jax cannot read."""
    needed = re.search(r"libtpu==([\d.]+)\.\*", " ".join(importlib.metadata.requires("jax") or ()))
    try:
        found = importlib.metadata.version("libtpu")
    except importlib.metadata.PackageNotFoundError:
        return
    if needed and not f"{found}.".startswith(f"{needed[1]}."):
        raise InputError(
            f"libtpu {found} is not the TPU compiler of jax {jax.__version__}, which is {needed[1]}: "
            "`pip install -e '.[tpu]'` brings it."
        )
