"""The way of samples from noise to image, in the few states that a page shows."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from score_jax.jobs.sample import Drawn
from score_jax.processes.gaussian import NoiseSchedule

_STATES = 9


def from_noise_to_image(saved: Drawn, process: NoiseSchedule) -> Drawn:
    """Returns the samples with nine states of their trajectories, in about even steps of the image's share of x_t.

    Args:
      saved: samples with many states.
      process: that the sampler walks; the share is alpha / sqrt(alpha² + sigma²).
    """
    times = jnp.asarray(saved.times)
    alpha, sigma = np.asarray(process.alpha(times)), np.asarray(process.sigma(times))
    share = alpha / np.hypot(alpha, sigma)
    wanted = np.linspace(share[0], share[-1], _STATES)
    states = np.unique(np.abs(share[None] - wanted[:, None]).argmin(axis=1))
    return dataclasses.replace(saved, trajectory=saved.trajectory[:, states], times=saved.times[states])
