"""One program compiled ahead of time: what it needs of each chip, and the least time it can take there."""

import contextlib
import dataclasses
import re
import time
from collections.abc import Iterator
from typing import Any

import jax

from score_jax.errors import entry_of
from score_jax.planning.chips import Chip
from score_jax.planning.hlo import collective_bytes

_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)i?B?"
_TOO_MUCH = re.compile(
    rf"Used {_SIZE} of {_SIZE} hbm|required for HLO temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)"
)


EFFORTS = {"quick": "O1", "full": None}
"""How hard the compiler tries: full, as for a run on the chips; quick, in about a fifth of the time, finds a program of
the same operations and about the same memory, which holds fewer copies."""


@contextlib.contextmanager
def compiler_effort(name: str) -> Iterator[None]:
    """Compilations within the context try as hard as `EFFORTS` says.

    Raises:
      InputError: there is no such effort.
    """
    level = entry_of(EFFORTS, "effort", name)
    before = {option: getattr(jax.config, option) for option in ("jax_optimization_level", "jax_memory_fitting_level")}
    try:
        for option in before if level else ():
            jax.config.update(option, level)
        yield
    finally:
        for option, value in before.items():
            jax.config.update(option, value)


@dataclasses.dataclass(frozen=True)
class Program:
    """What a program needs of each chip. Loops are counted once in all rates: `steps` says what one round of it is.

    Attributes:
      fits: whether the compiler placed it in memory.
      compile_seconds: of this compilation.
      memory: bytes at the peak; of a program that does not fit, what the compiler says it would use.
      limit: bytes of memory that programs may use.
      arguments: bytes of the arguments: parameters, optimizer state, batch.
      temporaries: bytes of what is computed on the way: activations.
      flops: operations.
      bytes: to and from memory.
      collectives: bytes by kind of collective.
    """

    fits: bool
    compile_seconds: float
    memory: float
    limit: float
    arguments: float = 0.0
    temporaries: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    collectives: dict[str, int] = dataclasses.field(default_factory=dict)

    def floor_seconds(self, chip: Chip) -> dict[str, float]:
        """The least time of one round on each of the chip's three resources; the greatest of them bounds it."""
        return {
            "matrix units": self.flops / chip.flops,
            "memory": self.bytes / chip.hbm_rate,
            "links": sum(self.collectives.values()) / chip.link_rate,
        }


def too_much(message: str) -> tuple[float, float] | None:
    """Bytes used and bytes there are, of the compiler's message about a program that does not fit; None of others."""
    found = _TOO_MUCH.search(message)
    if found is None:
        return None
    used, used_unit, of, of_unit = (group for group in found.groups() if group is not None)
    return float(used) * _UNITS[used_unit], float(of) * _UNITS[of_unit]


def compiled_program(lowered: Any, chip: Chip) -> Program:
    """Compiles; a program that does not fit is a result, not an error."""
    began = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = too_much(str(error))
        if sizes is None:
            raise
        used, of = sizes
        return Program(False, time.monotonic() - began, memory=used, limit=of)
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    aliased = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Program(
        True,
        time.monotonic() - began,
        memory=float(aliased + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes),
        limit=float(chip.hbm_bytes),
        arguments=float(memory.argument_size_in_bytes),
        temporaries=float(memory.temp_size_in_bytes),
        flops=costs.get("flops", 0.0),
        bytes=costs.get("bytes accessed", 0.0),
        collectives=collective_bytes(compiled.as_text()),
    )
