"""Files of guided-diffusion's process, losses, samplers and bound, and of the DDPM port's process."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from toys import condition_gradient, eps_toy

from originals import UnknownCase, by_name
from score_jax.guidance.classifier import by_gradient
from score_jax.losses import loss_history, variational
from score_jax.models.blocks.embeddings import sinusoidal_cos_first
from score_jax.prediction.predictor import OUTPUTS, Prediction, clipped
from score_jax.prediction.reverse import VARIANCES, reverse_kernel
from score_jax.processes.chain import Chain, chain_of_betas, vp_chain
from score_jax.processes.noise import replay
from score_jax.processes.respacing import kept_levels, respace
from score_jax.processes.schedules import BETAS
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import levels
from score_jax.samplers.steps import ancestral, ddim

_OUTPUT = {"EPSILON": "eps", "START_X": "x0", "PREVIOUS_X": "mean"}


def _spacing(value) -> str:
    return value if isinstance(value, str) else ",".join(str(n) for n in value)


@dataclasses.dataclass(frozen=True)
class _Setting:
    """One entry of `config.sets` as objects of ours."""

    chain: Chain
    output: str
    variance: str
    model: object
    gradient: object = None

    @property
    def predictor(self):
        return self.model

    @property
    def held(self):
        return clipped(self.model, self.chain)


def _setting(entry: dict, file, dtype, y=None) -> _Setting:
    given = file.group("in")
    constants = file.meta["config"]["toy"] | entry.get("toy", {})
    full = vp_chain(entry["schedule"], entry["steps"])
    spaced = respace(full, kept_levels(entry["steps"], _spacing(entry.get("respacing", str(entry["steps"])))))
    variance, output = entry["var"].lower(), _OUTPUT[entry["mean"]]
    if variance not in VARIANCES:
        raise UnknownCase(f"variance {variance}")
    net = eps_toy(given, constants, dtype, learned=variance.startswith("learned"))
    told = 1000 / entry["steps"] if entry.get("rescale") else 1.0
    label = y if y is None else jnp.asarray(y)

    def model(x, t):
        raw = net(x, told * jnp.asarray(spaced.levels, t.dtype)[t.astype(jnp.int32)], label)
        e, v = raw[:, : x.shape[1]], raw[:, x.shape[1] :]
        prediction = OUTPUTS[output](e, x, t, spaced.chain)
        return dataclasses.replace(prediction, variance=v) if v.size else prediction

    gradient = None
    if y is not None and "cond_mu" in given:
        plain = condition_gradient(given, constants, dtype, label)

        def gradient(x, t):
            return plain(x, told * jnp.asarray(spaced.levels, t.dtype)[t.astype(jnp.int32)])

    return _Setting(spaced.chain, output, variance, model, gradient)


def _tables(chain: Chain, dtype) -> dict:
    """guided-diffusion's arrays of a chain."""
    t = jnp.arange(chain.num_levels, dtype=dtype)
    abar, before = np.asarray(chain.alpha(t)) ** 2, np.asarray(chain.alpha(t - 1)) ** 2
    of_x, of_x0, small = (np.asarray(c) for c in chain.posterior_coefficients(t, t - 1))
    x = jnp.zeros((len(t), 1), dtype)
    log_small = np.asarray(VARIANCES["fixed_small"](chain, None, x, t, t - 1)[1])[:, 0]
    sigma2 = np.asarray(chain.sigma(t)) ** 2
    return {
        "betas": np.asarray(chain.kernel(t, t - 1)[1]),
        "alphas_cumprod": abar,
        "alphas_cumprod_prev": before,
        "alphas_cumprod_next": np.append(abar[1:], 0.0),
        "sqrt_alphas_cumprod": np.sqrt(abar),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(sigma2),
        # Of the rounded difference, as there: near no signal its logarithm has few digits.
        "log_one_minus_alphas_cumprod": np.log(1.0 - abar),
        "sqrt_recip_alphas_cumprod": 1 / np.sqrt(abar),
        "sqrt_recipm1_alphas_cumprod": np.asarray(chain.noise_to_signal(t)),
        "posterior_variance": small,
        "posterior_log_variance_clipped": log_small,
        "posterior_mean_coef1": of_x0,
        "posterior_mean_coef2": of_x,
    }


def schedules(file, dtype) -> dict:
    """Every table of every chain, and the kept levels of every respacing. Tables are float64 in any run, as there."""
    found = {}
    with _x64():
        for entry in file.meta["config"]["sets"]:
            chain, kept = vp_chain(entry["schedule"], entry["steps"]), None
            if "respacing" in entry:
                kept = kept_levels(entry["steps"], _spacing(entry["respacing"]))
                chain = respace(chain, kept).chain
                found[f"out/{entry['tag']}_timestep_map"] = kept
            for name, table in _tables(chain, jnp.float64).items():
                found[f"out/{entry['tag']}_{name}"] = table
    for k, (count, spacing) in enumerate(file.meta["config"]["spacings"]):
        found[f"out/spacing_{k}"] = kept_levels(count, _spacing(spacing))
    return found


def _x64():
    enable = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax.experimental import enable_x64 as enable
    return enable(True)


def _times(given: dict, entry: dict, dtype):
    return jnp.asarray(given["t_spaced" if "respacing" in entry else "t"], dtype)


def p_mean_variance(file, dtype) -> dict:
    """Mean, variance and x0 of every parametrisation, and the forward distributions."""
    given, found = file.group("in"), {}
    x, x0, noise = (jnp.asarray(given[name], dtype) for name in ("x", "x0", "noise"))
    for entry in file.meta["config"]["sets"]:
        setting, tag, t = _setting(entry, file, dtype), entry["tag"], _times(given, entry, dtype)
        for clip, predictor in (("clip", setting.held), ("noclip", setting.predictor)):
            prediction = predictor(x, t)
            # A network that outputs the mean is not clipped, only the x0 that is reported of it.
            of_mean = setting.predictor(x, t) if setting.output == "mean" else prediction
            kernel = reverse_kernel(setting.chain, of_mean, x, t, t - 1, VARIANCES[setting.variance])
            found[f"out/{tag}_{clip}_mean"] = kernel.mean
            found[f"out/{tag}_{clip}_pred_xstart"] = prediction.x0
            if clip == "clip":
                found[f"out/{tag}_clip_variance"] = np.broadcast_to(kernel.variance, x.shape)
                found[f"out/{tag}_clip_log_variance"] = np.broadcast_to(kernel.log_variance, x.shape)
    entry = file.meta["config"]["sets"][0]
    chain, t = vp_chain(entry["schedule"], entry["steps"]), jnp.asarray(given["t"], dtype)
    post_mean, post_variance = chain.posterior(x, x0, t, t - 1)
    log_small = VARIANCES["fixed_small"](chain, None, x, t, t - 1)[1]
    full = functools.partial(np.broadcast_to, shape=x.shape)
    sigma2 = np.asarray(chain.sigma(t))[:, None, None, None] ** 2
    return found | {
        "out/q_mean": chain.perturb(x0, t, jnp.zeros_like(x)),
        "out/q_variance": full(sigma2),
        "out/q_log_variance": full(np.log(sigma2)),
        "out/q_sample": chain.perturb(x0, t, noise),
        "out/q_post_mean": post_mean,
        "out/q_post_variance": full(np.asarray(post_variance)[:, None, None, None]),
        "out/q_post_log_variance": full(np.asarray(log_small)),
        "out/xstart_from_eps": OUTPUTS["eps"](noise, x, t, chain).x0,
        "out/eps_from_xstart": OUTPUTS["x0"](x0, x, t, chain).eps,
        "out/xstart_from_xprev": OUTPUTS["mean"](x0, x, t, chain).x0,
    }


def _next(chain: Chain, prediction: Prediction, t) -> jax.Array:
    """DDIM's inverse step; after the last level comes pure noise."""
    last = (t == chain.num_levels - 1)[:, None, None, None]
    stepped, _ = ddim(chain)(
        lambda j: prediction.eps, prediction.x0, t, jnp.minimum(t + 1, chain.t_max), lambda x, t: prediction
    )
    return jnp.where(last, prediction.eps, stepped)


def sampling_steps(file, dtype) -> dict:
    """Single ancestral, DDIM and inverse DDIM steps, plain and guided."""
    given, found = file.group("in"), {}
    x, noise = (jnp.asarray(given[name], dtype) for name in ("x", "noise"))

    def draw(j):
        return noise

    for entry in file.meta["config"]["sets"]:
        setting, tag, t = _setting(entry, file, dtype, given["y"]), entry["tag"], _times(given, entry, dtype)
        chain, variance = setting.chain, VARIANCES[setting.variance]
        plain, guided = setting.held, by_gradient(setting.held, setting.chain, setting.gradient)
        found[f"out/{tag}_p_sample_plain_sample"] = ancestral(chain, variance)(draw, x, t, t - 1, plain)[0]
        found[f"out/{tag}_p_sample_plain_pred_xstart"] = plain(x, t).x0
        shifted = ancestral(chain, variance, setting.gradient)(draw, x, t, t - 1, plain)
        found[f"out/{tag}_p_sample_guided_sample"], found[f"out/{tag}_condition_mean"] = shifted
        for eta in file.meta["config"]["etas"]:
            found[f"out/{tag}_ddim_eta{eta}_plain_sample"] = ddim(chain, eta)(draw, x, t, t - 1, plain)[0]
            found[f"out/{tag}_ddim_eta{eta}_guided_sample"] = ddim(chain, eta)(draw, x, t, t - 1, guided)[0]
        found[f"out/{tag}_ddim_guided_pred_xstart"] = guided(x, t).x0
        found[f"out/{tag}_condition_score_pred_xstart"] = guided(x, t).x0
        found[f"out/{tag}_condition_score_mean"] = chain.posterior(x, guided(x, t).x0, t, t - 1)[0]
        found[f"out/{tag}_ddim_reverse_clip"] = _next(chain, plain(x, t), t)
        found[f"out/{tag}_ddim_reverse_noclip"] = _next(chain, setting.predictor(x, t), t)
    return found


def sampling_loops(file, dtype) -> dict:
    """Whole loops with the stored noise, under the one driver."""
    given, found = file.group("in"), {}
    x, stored = jnp.asarray(given["x_T"], dtype), jnp.asarray(given["noise"], dtype)
    for entry in file.meta["config"]["sets"]:
        setting, guided = _setting(entry, file, dtype, given["y"]), entry.get("guided", False)
        predictor = setting.held if entry["clip"] else setting.predictor
        if entry["loop"] == "p":
            step = ancestral(setting.chain, VARIANCES[setting.variance], setting.gradient if guided else None)
        else:
            step = ddim(setting.chain, entry["eta"])
            predictor = by_gradient(predictor, setting.chain, setting.gradient) if guided else predictor
        count = setting.chain.num_levels
        grid = levels(np.arange(count)).astype(dtype)
        walk = run_chain(step, predictor, replay(stored, 1), x, grid, tuple(range(1, count + 1)))
        found[f"out/{entry['tag']}_sample"] = walk.x
        found[f"out/{entry['tag']}_trajectory"] = walk.kept
    return found


def training_losses(file, dtype) -> dict:
    """Every objective with every variance, and the functions they are made of."""
    given, found = file.group("in"), {}
    x0, noise = (jnp.asarray(given[name], dtype) for name in ("x0", "noise"))
    for entry in file.meta["config"]["sets"]:
        setting, tag, t = _setting(entry, file, dtype, given["y"]), entry["tag"], _times(given, entry, dtype)
        chain, variance, count = setting.chain, VARIANCES[setting.variance], setting.chain.num_levels
        fit = entry["loss"] in ("MSE", "RESCALED_MSE")
        if not fit and entry["loss"] not in ("KL", "RESCALED_KL"):
            raise UnknownCase(f"loss {entry['loss']}")
        scale = {"MSE": 1.0, "RESCALED_MSE": count / 1000, "KL": 1.0, "RESCALED_KL": float(count)}[entry["loss"]]
        x = chain.perturb(x0, t, noise)
        if fit and not entry["var"].startswith("LEARNED"):
            mse = variational.simple(chain, setting.predictor(x, t), setting.output, x0, x, t, noise)
            losses = {"loss": mse, "mse": mse}
        else:
            losses = variational.variational(
                setting.predictor, chain, variance, x0, t, noise,
                simple_output=setting.output if fit else None, vb_scale=scale,
            )  # fmt: skip
            losses = losses if fit else {"loss": losses["loss"]}
        found |= {f"out/{tag}_{name}": value for name, value in losses.items()}
        predictor = setting.predictor if setting.output == "mean" else setting.held
        kernel = reverse_kernel(chain, predictor(x, t), x, t, t - 1, variance)
        found[f"out/{tag}_vb_bpd_clip"] = variational.term(chain, kernel, x0, x, t)
    entry = file.meta["config"]["sets"][0]
    lv1, lv2, means = (jnp.asarray(given[name], dtype) for name in ("lv1", "lv2", "dl_means"))
    found |= {
        "out/prior_bpd": variational.prior_term(vp_chain(entry["schedule"], entry["steps"]), x0),
        "out/normal_kl": variational.normal_kl(x0, lv1, noise, lv2),
        "out/disc_loglik": variational.discretised_normal_log_prob(x0, means, lv1),
        "out/approx_cdf": variational.approximate_normal_cdf(noise),
    }
    for width in file.meta["config"]["emb_dims"]:
        found[f"out/timestep_embedding_{width}"] = sinusoidal_cos_first(jnp.asarray(given["emb_t"], dtype), width)
    return found


def calc_bpd_loop(file, dtype) -> dict:
    """The whole bound."""
    given, found = file.group("in"), {}
    x0, stored = jnp.asarray(given["x0"], dtype), jnp.asarray(given["noise"], dtype)
    for entry in file.meta["config"]["sets"]:
        setting, tag = _setting(entry, file, dtype, given["y"]), entry["tag"]
        predictor = setting.held if entry["clip"] else setting.predictor
        bound = variational.bound(predictor, setting.chain, VARIANCES[setting.variance], x0, replay(stored, 1))
        found |= {
            f"out/{tag}_total_bpd": bound.total,
            f"out/{tag}_prior_bpd": bound.prior,
            f"out/{tag}_vb": bound.terms,
            f"out/{tag}_xstart_mse": bound.x0_mse,
            f"out/{tag}_mse": bound.eps_mse,
        }
    return found


def loss_second_moment(file, dtype) -> dict:
    """The history of losses and the probabilities that follow from it."""
    given, config = file.group("in"), file.meta["config"]
    history = loss_history.empty_history(config["T"], config["history"])
    history = jax.tree.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, history)
    cold = loss_history.weights(history, config["uniform_prob"])
    after, warm = [], []
    for ts, losses in zip(given["ts"], given["losses"], strict=True):
        history = loss_history.remember(history, jnp.asarray(ts, dtype), jnp.asarray(losses, dtype))
        after.append(loss_history.weights(history, config["uniform_prob"]))
        warm.append(loss_history.warmed_up(history))
    index = jnp.asarray(given["sample_idx"])
    return {
        "out/weights_cold": cold,
        "out/weights_after_batch": np.stack(after),
        "out/warmed_up": np.stack(warm),
        "out/counts": history.counts,
        "out/sample_indices": index,
        "out/sample_weights": loss_history.importance(history, index, config["uniform_prob"]),
    }


def ddpm_process(file, dtype) -> dict:
    """Schedules, and one step forth and back, of the DDPM port."""
    given, config, found = file.group("in"), file.meta["config"], {}
    for entry in config["schedules"]:
        found[f"out/betas_{entry['tag']}"] = _ddpm_betas(entry)
    betas = _ddpm_betas(config["diffusion"])
    with _x64():
        chain = chain_of_betas(betas)
        tables = _tables(chain, jnp.float64)
        t = jnp.arange(len(betas), dtype=jnp.float64)
        blank = jnp.zeros((len(betas), 1))
        large = np.asarray(VARIANCES["fixed_large"](chain, None, blank, t, t - 1)[1])[:, 0]
        alphas = np.asarray(chain.kernel(t, t - 1)[0]) ** 2
    found |= {
        "out/fixedlarge_logvar": large,
        "out/fixedsmall_alphas": alphas,
        "out/fixedsmall_sqrt_recip_alphas_cumprod": tables["sqrt_recip_alphas_cumprod"],
        "out/fixedsmall_sqrt_recipm1_alphas_cumprod": tables["sqrt_recipm1_alphas_cumprod"],
        "out/fixedsmall_posterior_mean_coef1": tables["posterior_mean_coef1"],
        "out/fixedsmall_posterior_mean_coef2": tables["posterior_mean_coef2"],
        # The port's floor where there is no variance; guided-diffusion takes the entry above.
        "out/fixedsmall_logvar": np.log(np.maximum(tables["posterior_variance"], 1e-20)),
    }
    x, noise = (jnp.asarray(given[name], dtype) for name in ("x", "noise"))
    t, net = jnp.asarray(given["t"], dtype), eps_toy(given, config["toy"], dtype, learned=False)
    predictor = clipped(lambda x, t: OUTPUTS["eps"](net(x, t), x, t, chain), chain)
    a, b2 = (level[:, None, None, None] for level in chain.kernel(t, t - 1))
    for name in ("small", "large"):
        stepped = ancestral(chain, VARIANCES[f"fixed_{name}"])(lambda j: noise, x, t, t - 1, predictor)[0]
        found[f"out/fixed{name}_sample"] = stepped
        found[f"out/fixed{name}_pred_xstart"] = predictor(x, t).x0
        found[f"out/fixed{name}_diffusion_step"] = a * x + jnp.sqrt(b2) * noise
    return found


def _ddpm_betas(entry: dict) -> np.ndarray:
    name, count = entry["beta_schedule"], entry["num_diffusion_timesteps"]
    if name not in BETAS:
        raise UnknownCase(f"schedule {name}")
    limits = {"beta_min": entry["beta_start"] * count, "beta_max": entry["beta_end"] * count}
    takes = {"const": ("beta_max",), "jsd": ()}.get(name, ("beta_min", "beta_max"))
    return BETAS[name](count, **{key: limits[key] for key in takes})


_GUIDED = (
    schedules,
    p_mean_variance,
    sampling_steps,
    sampling_loops,
    training_losses,
    calc_bpd_loop,
    loss_second_moment,
)
HANDLERS = by_name("guided_diffusion", *_GUIDED) | {("ddpm", "process"): ddpm_process}
