"""Files of score_sde's processes, losses, predictor-corrector samplers and controllable generation."""

import functools

import jax.numpy as jnp
import numpy as np
from toys import mixture_score

from originals import UnknownCase, by_name
from score_jax.arrays import broadcast_right
from score_jax.guidance import measurements
from score_jax.losses import weighting
from score_jax.losses.score_matching import denoising
from score_jax.prediction.coordinates import seen
from score_jax.prediction.predictor import from_score
from score_jax.processes.gaussian import VE, VP, GaussianProcess, SubVP
from score_jax.processes.noise import replay
from score_jax.samplers import langevin, steps
from score_jax.samplers.chain import run_chain
from score_jax.samplers.discretised import Discretised, discretised
from score_jax.samplers.grids import levels


def process_of(sde: dict) -> GaussianProcess:
    """The process that a file's `sde` names."""
    kind = sde["kind"]
    if kind == "vesde":
        return VE(sde["sigma_min"], sde["sigma_max"])
    if kind in ("vpsde", "subvpsde"):
        return {"vpsde": VP, "subvpsde": SubVP}[kind](sde["beta_min"], sde["beta_max"])
    raise UnknownCase(f"SDE {kind}")


def _score(file, dtype, disc: Discretised, *, continuous: bool):
    """The mixture's score at times t, as a continuous or a discrete model gives it."""
    mixture, process, chain = mixture_score(file.group("in"), dtype), disc.process, disc.kernels
    if continuous:
        return lambda x, t: mixture(x, process.alpha(t), process.sigma(t))
    last = chain.t_max
    if isinstance(process, VE):
        return lambda x, t: mixture(x, jnp.ones_like(t), chain.sigma(last - jnp.round((1 - t) * last)))
    return lambda x, t: mixture(x, chain.alpha(t * last), chain.sigma(t * last))


def sde_math(file, dtype) -> dict:
    """Marginals, coefficients, kernels, priors, and both reversed."""
    given, sde = file.group("in"), file.meta["config"]["sde"]
    x, t, t_grid = (jnp.asarray(given[name], dtype) for name in ("x", "t", "t_grid"))
    process = process_of(sde)
    disc = discretised(process, sde["N"], 1e-5)

    def drift(t):
        return broadcast_right(process.drift_rate(t), x) * x

    def kernel(t):
        if isinstance(process, SubVP):
            return drift(t) / sde["N"], jnp.sqrt(process.diffusion_squared(t) / sde["N"])
        k = jnp.floor(t * (sde["N"] - 1))
        a, b2 = disc.kernels.kernel(k, k - 1)
        return broadcast_right(a - 1, x) * x, jnp.sqrt(b2)

    f, big_g = kernel(t)
    prior_noise = jnp.asarray(given["prior_noise"], dtype)
    prior = process.prior_std * prior_noise
    found = {
        "out/marginal_mean": broadcast_right(process.alpha(t), x) * x,
        "out/marginal_std": process.sigma(t),
        "out/sde_drift": drift(t),
        "out/sde_diffusion": jnp.sqrt(process.diffusion_squared(t)),
        "out/disc_f": f,
        "out/disc_G": big_g,
        "out/prior_sample": prior,
        "out/prior_logp": process.prior_log_prob(jnp.asarray(given["z"], dtype)),
    }
    k = jnp.arange(sde["N"], dtype=dtype)
    if isinstance(process, VE):
        found["out/discrete_sigmas"] = disc.kernels.sigma(k)
    if isinstance(process, VP):
        a, b2 = disc.kernels.kernel(k, k - 1)
        alpha = disc.kernels.alpha(k)
        found |= {
            "out/discrete_betas": b2,
            "out/alphas": a**2,
            "out/alphas_cumprod": alpha**2,
            "out/sqrt_alphas_cumprod": alpha,
            "out/sqrt_1m_alphas_cumprod": disc.kernels.sigma(k),
        }
    for name, at in (("cont", t), ("disc", t_grid)):
        if name == "disc" and isinstance(process, SubVP):
            continue
        score = _score(file, dtype, disc, continuous=name == "cont")(x, at)
        f, big_g = kernel(at)
        g2, big_g2 = (broadcast_right(level, x) for level in (process.diffusion_squared(at), big_g**2))
        found[f"out/score_{name}"] = score
        found[f"out/rev_diffusion_{name}"] = jnp.sqrt(process.diffusion_squared(at))
        for flow in (0, 1):
            share = 0.5 if flow else 1.0
            found[f"out/rev_drift_{name}_pf{flow}"] = drift(at) - share * g2 * score
            found[f"out/rev_f_{name}_pf{flow}"] = f - share * big_g2 * score
            found[f"out/rev_G_{name}_pf{flow}"] = jnp.zeros_like(big_g) if flow else big_g
    return found


def losses(file, dtype) -> dict:
    """The continuous objective with its options, and the discrete ones."""
    given, config = file.group("in"), file.meta["config"]
    x, u, z = (jnp.asarray(given[name], dtype) for name in ("x", "u", "z"))
    process = process_of(config["sde"])
    disc = discretised(process, config["sde"]["N"], config["eps"])
    t = u * (1 - config["eps"]) + config["eps"]
    dim, found = x[0].size, {"out/t": t}

    def reduced(per_example, reduce_mean):
        return jnp.mean(per_example) * (1 / dim if reduce_mean else 0.5)

    def of(score):
        return lambda x, t: from_score(score(x, t), x, t, process)

    continuous = of(_score(file, dtype, disc, continuous=True))
    for name, chosen in (("lw0", weighting.eps), ("lw1", weighting.likelihood)):
        per_example = denoising(continuous, process, x, t, z, chosen)
        for mean in (0, 1):
            found[f"out/sde_loss_rm{mean}_{name}"] = reduced(per_example, mean)
    if isinstance(process, SubVP):
        return found
    chain, labels = disc.kernels, jnp.asarray(given["labels"], dtype)
    index = chain.t_max - labels if isinstance(process, VE) else labels
    mixture = mixture_score(given, dtype)

    def discrete(x, k):
        return from_score(mixture(x, chain.alpha(k), chain.sigma(k)), x, k, chain)

    kind = "smld" if isinstance(process, VE) else "ddpm"
    per_example = denoising(discrete, chain, x, index, z)
    for mean in (0, 1):
        found[f"out/{kind}_loss_rm{mean}"] = reduced(per_example, mean)
    if isinstance(process, VP):
        model = of(_score(file, dtype, disc, continuous=False))
        found["out/sde_loss_discrete_model_rm1"] = reduced(denoising(model, process, x, t, z), True)
    return found


def _predict(disc: Discretised, name: str, flow: bool):
    """A predictor's step and its draws."""
    if name == "euler_maruyama":
        return disc.euler_maruyama(probability_flow=flow), 1
    if name == "reverse_diffusion":
        return disc.reverse_diffusion(probability_flow=flow), 1
    if name == "ancestral_sampling" and isinstance(disc.process, VE | VP):
        return steps.ancestral_of_score(disc.kernels, large=isinstance(disc.process, VP)), 1
    if name == "none":
        return steps.stay, 0
    raise UnknownCase(f"predictor {name}")


def _correct(disc: Discretised, name: str, snr: float, n_steps: int):
    """A corrector's step and its draws."""
    if name == "none":
        return steps.stay, 0
    sizes = {
        "langevin": lambda: langevin.by_batch_snr(disc.kernels, snr),
        "ald": lambda: langevin.by_std(disc.kernels, snr, disc.marginals.sigma),
    }
    if name not in sizes:
        raise UnknownCase(f"corrector {name}")
    return langevin.langevin(sizes[name](), n_steps), n_steps


def predictor_corrector_steps(file, dtype) -> dict:
    """Single updates at given times."""
    given, found = file.group("in"), {}
    x, noise = (jnp.asarray(given[name], dtype) for name in ("x", "noise"))
    for entry in file.meta["config"]["steps"]:
        count, continuous = entry["sde"]["N"], entry["continuous"]
        t = jnp.asarray(given["t" if continuous else "t_grid"], dtype)
        k = jnp.floor(t * (count - 1))
        disc = discretised(process_of(entry["sde"]), count, 1e-5)
        # Here the times are not on the sampler's grid: each step's own stands in the table at its level.
        disc = Discretised(disc.process, disc.kernels, disc.times.astype(dtype).at[k.astype(int)].set(t))
        score = _score(file, dtype, disc, continuous=continuous)
        if entry["type"] == "predictor":
            step, _ = _predict(disc, entry["name"], entry["probability_flow"])
        else:
            step, _ = _correct(disc, entry["name"], entry["snr"], entry["n_steps"])
        prediction_of = functools.partial(_at, score, t, disc)
        stepped = step(lambda j: noise[j], x, k, k - 1, prediction_of)
        found[f"out/{entry['tag']}_x"], found[f"out/{entry['tag']}_mean"] = stepped
    return found


def _at(score, t, disc: Discretised, x, k):
    """The prediction at times that are not the steps' own."""
    return from_score(score(x, t), x, k, disc.marginals)


def _unscaled(x, centered: bool):
    return (x + 1) / 2 if centered else x


def pc(file, dtype) -> dict:
    """Whole predictor-corrector runs with the stored noise."""
    given, config = file.group("in"), file.meta["config"]
    count, stored = config["sde"]["N"], jnp.asarray(given["noise"], dtype)
    disc = discretised(process_of(config["sde"]), count, config["eps"])
    predict, draws = _predict(disc, config["predictor"], config["probability_flow"])
    correct, corrector_draws = _correct(disc, config["corrector"], config["snr"], config["n_steps"])
    score = _score(file, dtype, disc, continuous=config["continuous"])
    walk = run_chain(
        steps.predictor_corrector(predict, correct, corrector_draws),
        seen(lambda x, t: from_score(score(x, t), x, t, disc.process), disc.view(discrete=False)),
        replay(stored, draws + corrector_draws),
        disc.process.prior_std * jnp.asarray(given["x_T_noise"], dtype),
        levels(np.arange(count)).astype(dtype),
        tuple(range(1, count + 1)),
    )
    return {
        "out/sample": _unscaled(walk.mean if config["denoise"] else walk.x, config["centered"]),
        "out/nfe": count * (config["n_steps"] + 1),  # as the original counts, a corrector that does nothing too
        "out/trajectory_x": walk.kept,
        "out/trajectory_mean": walk.kept_means,
        "out/timesteps": disc.times[::-1],
    }


# score_sde's basis of colour, with its rounded entries: grey comes first.
_BASIS = np.array(
    [
        [5.7735014e-01, -8.1649649e-01, 4.7008697e-08],
        [5.7735026e-01, 4.0824834e-01, 7.0710671e-01],
        [5.7735026e-01, 4.0824822e-01, -7.0710683e-01],
    ]
)


def control(file, dtype) -> dict:
    """Inpainting and colorization under the predictor-corrector sampler."""
    given, config = file.group("in"), file.meta["config"]
    count, prior = config["sde"]["N"], _last(given["prior_noise"], dtype)
    disc = discretised(process_of(config["sde"]), count, config["eps"])
    prior, stored = disc.process.prior_std * prior, _last(given["noise"], dtype)
    predict, draws = _predict(disc, config["predictor"], config.get("probability_flow", False))
    correct, corrector_draws = _correct(disc, config["corrector"], config["snr"], config["n_steps"])
    per_step = corrector_draws + draws + 2
    if config["task"] == "inpaint":
        data, known = _last(given["data"], dtype), _last(given["mask"], dtype)
        measurement = measurements.mask(known)
        x = data * known + prior * (1 - known)
    elif config["task"] == "colorize":
        data, inverse = _last(given["gray"], dtype), jnp.asarray(np.linalg.inv(_BASIS), dtype)
        basis, first = jnp.asarray(_BASIS, dtype), jnp.asarray([1.0, 0.0, 0.0], dtype)
        measurement = measurements.in_basis(_BASIS, 0)
        # The original draws the measurement's noise in its basis, and masks the prior before it enters it.
        x = ((data @ basis) * first + (prior * (1 - first)) @ basis) @ inverse
        of_data = (np.arange(len(stored)) % per_step == corrector_draws) | (
            np.arange(len(stored)) % per_step == per_step - 1
        )
        stored = jnp.where(of_data[:, None, None, None, None], stored @ inverse, stored)
    else:
        raise UnknownCase(f"task {config['task']}")
    y, marginals = measurement.operator(data), disc.marginals
    predict = measurements.held_after(predict, marginals, measurement, y, draws, at_start=True)
    correct = measurements.held_after(correct, marginals, measurement, y, corrector_draws, at_start=True)
    score = _score(file, dtype, disc, continuous=config["continuous"])

    def model(x, t):
        first = jnp.moveaxis(x, -1, 1)
        return from_score(jnp.moveaxis(score(first, t), 1, -1), x, t, disc.process)

    step = steps.predictor_corrector(predict, correct, corrector_draws + 1)
    grid = levels(np.arange(count)).astype(dtype)
    walk = run_chain(step, seen(model, disc.view(discrete=False)), replay(stored, per_step), x, grid)
    sample = _unscaled(walk.mean if config["denoise"] else walk.x, config["centered"])
    return {"out/sample": jnp.moveaxis(sample, -1, 1)}


def _last(a: np.ndarray, dtype):
    """Channels last."""
    return jnp.asarray(np.moveaxis(a, -3, -1), dtype)


HANDLERS = by_name("score_sde", sde_math, losses, predictor_corrector_steps, pc, control)
