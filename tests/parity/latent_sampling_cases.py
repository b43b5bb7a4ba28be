"""Files of latent diffusion's schedules, losses, samplers, averages and learning rates. Images are NCHW."""

import jax
import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.sampler_options import DDIM, PLMS
from score_jax.builder.sampling import Known, Sampling, build_sampling
from score_jax.codecs.numbers import Numbers
from score_jax.codecs.scale import scale_by_std
from score_jax.guidance.classifier_free import classifier_free, constant
from score_jax.guidance.measurements import mask
from score_jax.losses import latent, variational
from score_jax.losses.score_matching import denoising
from score_jax.losses.weighting import WEIGHTINGS
from score_jax.prediction.posterior_mix import posterior_mix
from score_jax.prediction.predictor import OUTPUTS, clipped
from score_jax.prediction.reverse import reverse_kernel
from score_jax.processes.chain import Chain, chain_of_betas, vp_chain
from score_jax.processes.noise import replay
from score_jax.processes.schedules import BETAS
from score_jax.samplers import plms
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import latent_diffusion_levels
from score_jax.samplers.steps import ancestral
from score_jax.training.optimizer import Cycle, cyclic_schedule, learning_rate_schedule, update_ema

_SCHEDULES = {"linear": "scaled_linear", "sqrt_linear": "linear", "sqrt": "sqrt"}
_PROCESS = {
    **{"timesteps": 1000, "beta_schedule": "linear", "linear_start": 1e-4, "linear_end": 2e-2, "cosine_s": 8e-3},
    **{"parameterization": "eps", "loss_type": "l2", "v_posterior": 0.0, "l_simple_weight": 1.0, "logvar_init": 0.0},
    **{"original_elbo_weight": 0.0, "learn_logvar": False},
}
"""The original's defaults; files name what differs."""


def _process(file) -> dict:
    stated = file.meta["config"].get("process", {})
    if not stated.keys() <= _PROCESS.keys():
        raise UnknownCase(f"a process with {sorted(stated.keys() - _PROCESS.keys())}")
    return _PROCESS | stated


def _chain(values: dict) -> Chain:
    count, name = values["timesteps"], values["beta_schedule"]
    if name == "cosine":
        return chain_of_betas(BETAS["cosine"](count, values["cosine_s"]))
    if name not in _SCHEDULES:
        raise UnknownCase(f"schedule {name}")
    return vp_chain(_SCHEDULES[name], count, count * values["linear_start"], count * values["linear_end"])


def _toy(chain: Chain, output: str, context=None):
    """The toy network of the files as a predictor."""

    def model(x, t):
        told = t[:, None, None, None]
        out = 0.6 * x + 0.3 * jnp.sin(1.7 * x + 0.01 * told)
        if context is not None:
            out = out + 0.2 * jnp.cos(0.005 * told) * jnp.mean(context, axis=1)[:, :, None, None]
        return OUTPUTS[output](out, x, t, chain)

    return model


def schedule(file, dtype) -> dict:
    """Every table of a chain. Tables are float64 in any run, as there."""
    values = _process(file)
    chain, share = _chain(values), values["v_posterior"]
    with _x64():
        t = jnp.arange(chain.num_levels, dtype=jnp.float64)
        abar, before = np.asarray(chain.alpha(t)) ** 2, np.asarray(chain.alpha(t - 1)) ** 2
        of_x, of_x0, _ = (np.asarray(c) for c in chain.posterior_coefficients(t, t - 1))
        variance, log_variance = posterior_mix(share)(chain, None, jnp.zeros((len(t), 1)), t, t - 1)
        tables = {
            "betas": chain.kernel(t, t - 1)[1],
            "alphas_cumprod": abar,
            "alphas_cumprod_prev": before,
            "sqrt_alphas_cumprod": chain.alpha(t),
            "sqrt_one_minus_alphas_cumprod": chain.sigma(t),
            # Of the rounded difference, as there: near no signal its logarithm has few digits.
            "log_one_minus_alphas_cumprod": np.log(1.0 - abar),
            "sqrt_recip_alphas_cumprod": 1 / np.sqrt(abar),
            "sqrt_recipm1_alphas_cumprod": chain.noise_to_signal(t),
            "posterior_variance": variance[:, 0],
            "posterior_log_variance_clipped": log_variance[:, 0],
            "posterior_mean_coef1": of_x0,
            "posterior_mean_coef2": of_x,
            "lvlb_weights": latent.elbo_weights(chain, values["parameterization"], share),
        }
        return {f"out/{name}": np.asarray(table) for name, table in tables.items()}


def _x64():
    enable = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax.experimental import enable_x64 as enable
    return enable(True)


def loss(file, dtype) -> dict:
    """The losses of both classes with what they log, the forward law, and the reverse kernel."""
    given, values = {k: jnp.asarray(v, dtype) for k, v in file.group("in").items()}, _process(file)
    chain, output = _chain(values), values["parameterization"]
    x0, t, noise = given["x_start"], given["t"], given["noise"]
    table = given.get("logvar", jnp.full(chain.num_levels, values["logvar_init"], dtype))
    weights = latent.elbo_weights(chain, output, values["v_posterior"])

    def losses(context, log_variances):
        sums = denoising(
            _toy(chain, output, context), chain, x0, t, noise, WEIGHTINGS[output], values["loss_type"].lower()
        )
        parts = latent.by_level(
            sums / x0[0].size,
            t,
            log_variances=log_variances,
            simple_weight=values["l_simple_weight"],
            weights=weights,
            elbo_weight=values["original_elbo_weight"],
        )
        return {name: jnp.mean(part) for name, part in parts.items()}

    found = {}
    for prefix, parts in (("", losses(given["context"], table)), ("ddpm_class_", losses(None, None))):
        found[f"out/{prefix}loss"] = found[f"out/{prefix}log_val_loss"] = parts["loss"]
        found[f"out/{prefix}log_val_loss_simple"] = parts["simple"]
        found[f"out/{prefix}log_val_loss_vlb"] = parts["vlb"]
        if values["learn_logvar"] and not prefix:
            found |= {"out/log_val_loss_gamma": parts["gamma"], "out/log_logvar": jnp.mean(table)}
            found["grad/logvar"] = jax.grad(lambda v: losses(given["context"], v)["loss"])(table)
    sigma2 = chain.sigma(t)[:, None, None, None] ** 2
    return (
        found
        | {
            "out/x_noisy": chain.perturb(x0, t, noise),
            "out/prior_bpd": variational.prior_term(chain, x0),
            "out/q_mean": chain.perturb(x0, t, jnp.zeros_like(x0)),
            "out/q_var": sigma2,
            "out/q_logvar": jnp.log(sigma2),
            "out/eps_from_xstart": OUTPUTS["x0"](x0, given["x_noisy"], t, chain).eps,
        }
        | _reverse(chain, _toy(chain, output, given["context"]), values["v_posterior"], given, file.meta["config"])
    )


def _reverse(chain: Chain, model, share: float, given: dict, config: dict) -> dict:
    """The reverse kernel at a noisy image, clipped and not, and a draw from it."""
    x, t, variance, found = given["x_noisy"], given["t"], posterior_mix(share), {}
    for suffix, predictor in (("", model), ("_clip", clipped(model, chain))):
        prediction = predictor(x, t)
        kernel = reverse_kernel(chain, prediction, x, t, t - 1, variance)
        found |= {f"out/p_mean{suffix}": kernel.mean, f"out/p_x0{suffix}": prediction.x0}
    step = ancestral(chain, variance, temperature=config.get("temperature", 1.0))
    drawn, _ = step(lambda j: given["noise"], x, t, t - 1, model)
    return found | {"out/p_var": kernel.variance, "out/p_logvar": kernel.log_variance, "out/p_sample": drawn}


def _sampling(file, options: type, dtype, **more) -> tuple[Sampling, Chain]:
    """The sampler by the names of a config, and the model's chain."""
    config, given = file.meta["config"], file.group("in")
    chain, known = _chain(_process(file)), None
    name = "latent_diffusion_quad" if _quadratic(file) else "latent_diffusion"
    if "mask" in given:
        pixels = mask(jnp.asarray(given["mask"], dtype))
        known = Known(pixels, pixels.operator(jnp.asarray(given["x0"], dtype)))
    facts = ModelFacts(chain, {"name": "vp_chain"}, Numbers(), "eps", "index")
    return build_sampling(options(num_steps=config["S"], discretisation=name, **more), facts, known=known), chain


def _quadratic(file) -> bool:
    return file.meta["config"].get("ddim_discretize", "uniform") == "quad"


def _levels(file, chain: Chain) -> np.ndarray:
    return latent_diffusion_levels(chain.num_levels, file.meta["config"]["S"], quadratic=_quadratic(file))


def _guided(file, chain: Chain, dtype):
    given, scale = file.group("in"), file.meta["config"].get("scale", 1.0)
    model = _toy(chain, "eps", jnp.asarray(given["context"], dtype))
    if "uncond" not in given or scale == 1.0:
        return model
    return classifier_free(model, _toy(chain, "eps", jnp.asarray(given["uncond"], dtype)), constant(scale))


def _path(given: dict, count: int, dtype):
    """The stored noise; what is known draws after a step."""
    noise = given.get("noise", np.zeros((count, *given["x_T"].shape)))
    if "q_noise" in given:
        noise = np.stack([noise, given["q_noise"]], axis=1).reshape(-1, *noise.shape[1:])
    return replay(jnp.asarray(noise, dtype), 2 if "q_noise" in given else 1)


def ddim(file, dtype) -> dict:
    """A whole loop with the stored noise, and the tables of its levels."""
    given, config = file.group("in"), file.meta["config"]
    eta = config.get("eta", 0.0)
    hotter = {"step_temperature": config.get("temperature", 1.0)} if eta else {}
    sampling, chain = _sampling(file, DDIM, dtype, eta=eta, **hotter)
    method, x = sampling.sampler.method, jnp.asarray(given["x_T"], dtype)
    model = sampling.see(_guided(file, chain, dtype))
    grid, count = method.grid.astype(dtype), len(method.grid) - 1
    path = _path(given, count, dtype)
    walk = run_chain(method.step, model, path, x, grid, tuple(range(count + 1)))
    predicted = [x]

    def asked(x, t):
        prediction = model(x, t)
        predicted.append(prediction.x0)
        return prediction

    for i in range(count):
        t, s = (jnp.full(len(x), grid[j]) for j in (i, i + 1))
        x, _ = method.step(path(jnp.asarray(i)), x, t, s, asked)
    k, levels = jnp.arange(1.0, count + 1, dtype=jnp.float64 if dtype == jnp.float64 else None), sampling.process
    return {
        "out/x": walk.x,
        "out/x_inter": walk.kept,
        "out/pred_x0": jnp.stack(predicted),
        "out/timesteps": _levels(file, chain),
        "out/ddim_alphas": levels.alpha(k) ** 2,
        "out/ddim_alphas_prev": levels.alpha(k - 1) ** 2,
        "out/ddim_sigmas": eta * jnp.sqrt(levels.posterior_coefficients(k, k - 1)[2]),
    }


def pseudo_multistep(file, dtype) -> dict:
    """A whole loop, and step by step the times of its evaluations and the predicted x0."""
    given = file.group("in")
    sampling, chain = _sampling(file, PLMS, dtype)
    method, x = sampling.sampler.method, jnp.asarray(given["x_T"], dtype)
    guided = _guided(file, chain, dtype)
    model, predicted, asked = sampling.see(guided), [x], []
    grid, count = method.grid.astype(dtype), len(method.grid) - 1
    path, memory = _path(given, count, dtype), method.memory(x)
    walk = run_chain(method.step, model, path, x, grid, tuple(range(count + 1)), memory)

    def recorded(x, t):
        asked.append((x, int(t[0])))
        return guided(x, t)

    with jax.disable_jit():
        for i in range(count):
            t, s = (jnp.full(len(x), grid[j]) for j in (i, i + 1))
            before, calls = memory, len(asked)
            x, _, memory = method.step(path(jnp.asarray(i)), x, t, s, sampling.see(recorded), before)
            begun = asked[calls][0]
            prediction, _ = plms.extrapolated(sampling.process, begun, t, s, grid[-1], model, before)
            predicted.append(prediction.x0)
    return {
        "out/x": walk.x,
        "out/x_inter": walk.kept,
        "out/pred_x0": jnp.stack(predicted),
        "out/timesteps": _levels(file, chain),
        "out/model_call_timesteps": np.array([t for _, t in asked]),
    }


def timesteps(file, dtype) -> dict:
    """The levels of each grid, also of those where the original then fails."""
    return {
        f"out/{method}_S{steps}_T{count}": latent_diffusion_levels(count, steps, quadratic=method == "quad")
        for method, steps, count in file.meta["config"]["grid"]
    }


def average(file, dtype) -> dict:
    """The average after each update, and how many the original counts: -1 without its warm-up."""
    weights, config = jnp.asarray(file.group("in")["weights"], dtype), file.meta["config"]
    warmup, kept = config["use_num_updates"], [weights[0]]
    for n, row in enumerate(weights[1:], start=1):
        kept.append(update_ema(kept[-1], row, config["decay"], warmup, jnp.asarray(n)))
    return {"out/ema_weight": jnp.stack(kept[1:]), "out/num_updates": np.array(len(kept) - 1 if warmup else -1)}


def scale(file, dtype) -> dict:
    """The factor of the first batch's latents."""
    z = jnp.asarray(file.group("in")["z"], dtype)
    return {"out/scale_factor": scale_by_std(z), "out/scaled": scale_by_std(z) * z}


def _cycles(c: dict) -> list[Cycle]:
    columns = (c["cycle_lengths"], c["warm_up_steps"], c["f_start"], c["f_max"], c["f_min"])
    return [Cycle(*row) for row in zip(*columns, strict=True)]


def _cosine_of_one_cycle(c: dict):
    peak = c["lr_max"]
    ends = {"first": c["lr_start"] / peak, "last": c["lr_min"] / peak}
    return learning_rate_schedule(peak, c["warm_up_steps"], "cosine", c["max_decay_steps"], **ends)


_RATES = {
    "LambdaLinearScheduler": lambda c: cyclic_schedule(_cycles(c), "linear"),
    "LambdaWarmUpCosineScheduler": _cosine_of_one_cycle,
    "LambdaWarmUpCosineScheduler2": lambda c: cyclic_schedule(_cycles(c), "cosine"),
}


def rates(file, dtype) -> dict:
    """Multipliers of the learning rate. They are float64 in any run, as there."""
    steps, found = file.group("in")["steps"], {}
    with _x64():
        for i, (name, config) in enumerate(file.meta["config"]["scheds"]):
            of = jax.vmap(_RATES[name](config))
            found[f"out/np64_{i}_{name}"] = np.asarray(of(jnp.asarray(steps)))
    return found


HANDLERS = {
    ("latent_diffusion", "schedule"): schedule,
    ("latent_diffusion", "ldm_loss"): loss,
    ("latent_diffusion", "ddim"): ddim,
    ("latent_diffusion", "plms"): pseudo_multistep,
    ("latent_diffusion", "ddim_timesteps"): timesteps,
    ("latent_diffusion", "lit_ema"): average,
    ("latent_diffusion", "scale_by_std"): scale,
    ("latent_diffusion", "lr_schedules"): rates,
}
