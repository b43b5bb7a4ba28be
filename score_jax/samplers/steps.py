"""Step rules: how x at time t becomes x at time s < t.

A step is a pure function `step(noise, x, t, s, predictor) -> (x, mean)` where `mean` is x without its last noise. Steps
see the process through its pair of levels and the model through its predictor, so each is written once for every
Gaussian process and every prediction. s may be the data (-1 of a chain).
"""

from collections.abc import Callable

import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.guidance.classifier import Gradient
from score_jax.guidance.text import Loss, pull
from score_jax.prediction.predictor import Predictor
from score_jax.prediction.reverse import Variance, fixed_small, reverse_kernel
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.processes.noise import Noise, later
from score_jax.typing import Batch, Scalar, Time

Step = Callable[[Noise, Batch, Time, Time, Predictor], tuple[Batch, Batch]]
Clock = Callable[[Time, Time], tuple[Time, Time]]
"""`clock(t, s)`: the time at which an SDE's coefficients are taken, and the length of the step."""


def stay(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
    """Returns x unchanged: the predictor of corrector-only samplers, without evaluation."""
    return x, x


def _own_clock(t: Time, s: Time) -> tuple[Time, Time]:
    return t, t - s


def euler_maruyama(process: GaussianProcess, clock: Clock = _own_clock, *, probability_flow: bool = False) -> Step:
    """Makes an Euler-Maruyama step of the reverse SDE: x + (f x - g² score)(s - t) + g sqrt(t - s) z; one draw.

    With `probability_flow`, Euler on the ODE: half of g² score, no noise.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        time, length = clock(t, s)
        drift_rate = broadcast_right(process.drift_rate(time), x)
        g2 = broadcast_right(process.diffusion_squared(time), x)
        dt = broadcast_right(length, x)
        if probability_flow:
            x = x - (drift_rate * x - 0.5 * g2 * predictor(x, t).score) * dt
            return x, x
        mean = x - (drift_rate * x - g2 * predictor(x, t).score) * dt
        return mean + jnp.sqrt(g2 * dt) * noise(0), mean

    return step


def reverse_diffusion(process: NoiseSchedule, *, probability_flow: bool = False) -> Step:
    """Makes the reversed step of the kernel x_t = a x_s + b z: (2 - a) x + b² score + b z (Song et al. 2021, eq. 46).

    One evaluation, one draw. With `probability_flow`, half of b² score and no noise. On a chain the kernel is the
    original's discretisation; on a process in continuous time it is exact between t and s.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        a, b2 = (broadcast_right(level, x) for level in process.kernel(t, s))
        if probability_flow:
            x = (2 - a) * x + 0.5 * b2 * predictor(x, t).score
            return x, x
        mean = (2 - a) * x + b2 * predictor(x, t).score
        return mean + jnp.sqrt(b2) * noise(0), mean

    return step


def ancestral(
    process: NoiseSchedule,
    variance: Variance = fixed_small,
    gradient: Gradient | None = None,
    temperature: Scalar = 1.0,
) -> Step:
    """Draws from the learned reverse kernel (Ho et al. 2020, algorithm 2; Nichol and Dhariwal 2021; ADM).

    One evaluation, one draw; no noise on the step into the data.

    Args:
      process: where x comes from.
      variance: of `reverse.VARIANCES`; the smaller fixed one is also NCSN's ancestral rule (Song et al. 2021, eq. 47).
      gradient: guides by shifting the mean by variance * gradient (ADM's algorithm 1, `condition_mean`).
      temperature: factor of the noise.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        kernel = reverse_kernel(process, predictor(x, t), x, t, s, variance)
        mean = kernel.mean if gradient is None else kernel.mean + kernel.variance * gradient(x, t)
        noisy = broadcast_right(process.sigma(s), x) > 0
        return jnp.where(noisy, mean + temperature * jnp.exp(0.5 * kernel.log_variance) * noise(0), mean), mean

    return step


def pulled_ancestral(process: NoiseSchedule, loss: Loss, variance: Variance = fixed_small) -> Step:
    """Makes an `ancestral` step that a loss of the predicted x0 guides; it returns the predicted x0, not the mean.

    Blended Diffusion (Avrahami et al. 2022). One evaluation, one draw.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        prediction, gradient = pull(loss, predictor, process)(x, t)
        shifted = ancestral(process, variance, lambda x, t: gradient)
        x, _ = shifted(noise, x, t, s, lambda x, t: prediction)
        return x, prediction.x0

    return step


def ancestral_of_score(process: NoiseSchedule, *, large: bool) -> Step:
    """Makes score_sde's ancestral step: (x + b² score) / a, with noise on the last step (Song et al. 2021, eqs 4, 47).

    The mean is `ancestral`'s where model and kernel agree on sigma, which on score_sde's grid they do not quite.
    One evaluation, one draw.

    Args:
      process: its kernel is reversed.
      large: noise of variance b² (VP), not that of the posterior (VE).
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        a, b2 = process.kernel(t, s)
        variance = b2 if large else process.posterior_coefficients(t, s)[2]
        mean = (x + broadcast_right(b2, x) * predictor(x, t).score) / broadcast_right(a, x)
        return mean + jnp.sqrt(broadcast_right(variance, x)) * noise(0), mean

    return step


def ddim(process: NoiseSchedule, eta: float = 0.0, temperature: Scalar = 1.0) -> Step:
    """Makes a DDIM step: alpha_s x0 + sqrt(sigma_s² - v²) eps + v z, v² = eta² the posterior variance (2021a, eq. 12).

    One evaluation, one draw. eta = 0 is deterministic, and on a growing grid its own inverse (encoding); eta = 1 is
    ancestral sampling with the smaller variance. `temperature` is a factor of z alone.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        prediction = predictor(x, t)
        alpha, sigma = broadcast_right(process.alpha(s), x), broadcast_right(process.sigma(s), x)
        if eta == 0.0:
            x = alpha * prediction.x0 + sigma * prediction.eps
            return x, x
        v2 = eta**2 * broadcast_right(process.posterior_coefficients(t, s)[2], x)
        mean = alpha * prediction.x0 + jnp.sqrt(jnp.maximum(sigma**2 - v2, 0.0)) * prediction.eps
        return mean + temperature * jnp.sqrt(v2) * noise(0), mean

    return step


def keeping_its_noise(step: Step) -> Step:
    """Makes a step whose mean is the state itself, so that sampling ends with the noise of the last step.

    For grids whose end has noise left, as latent diffusion's.
    """

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x, _ = step(noise, x, t, s, predictor)
        return x, x

    return wrapped


def predictor_corrector(predict: Step, correct: Step, corrector_draws: int) -> Step:
    """Makes a corrector step, then a predictor step, both at t: the original code's order, not algorithm 1's."""

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x, _ = correct(noise, x, t, s, predictor)
        return predict(later(noise, corrector_draws), x, t, s, predictor)

    return step
