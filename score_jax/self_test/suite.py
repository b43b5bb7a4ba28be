"""All checks of the self-test."""

from collections.abc import Sequence

from score_jax.self_test import arithmetic, convolutions, devices, diffusion, images
from score_jax.self_test.check import Check, Result, run_check

CHECKS: tuple[Check, ...] = (
    *arithmetic.CHECKS,
    *convolutions.CHECKS,
    *images.CHECKS,
    *devices.CHECKS,
    *diffusion.CHECKS,
)


def run(checks: Sequence[Check] = CHECKS) -> list[Result]:
    """Tests what JAX computes on this process's devices; the single programs run on the first of them."""
    return [run_check(check) for check in checks]
