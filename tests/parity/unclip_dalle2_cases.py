"""Files of the prior of DALLE2-pytorch: its network, its loss, its noise and both of its ways to sample."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.convert.dalle2_prior import prior_params
from score_jax.guidance.classifier_free import classifier_free, constant
from score_jax.models.priors.dalle2 import Dalle2Prior, unit
from score_jax.prediction.coordinates import of_levels, seen
from score_jax.prediction.posterior_mix import posterior_mix
from score_jax.prediction.predictor import Predictor, clipped, from_x0, network_predictor
from score_jax.processes.chain import Chain, chain_of_betas
from score_jax.processes.noise import replay
from score_jax.processes.schedules import BETAS
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import levels
from score_jax.samplers.steps import ancestral, ddim

_NET = {
    "depth": "layers",
    "heads": "heads",
    "dim_head": "head_width",
    "max_text_len": "text_length",
    "num_timesteps": "num_timesteps",
    "num_time_embeds": "time_tokens",
    "num_image_embeds": "image_tokens",
    "num_text_embeds": "text_tokens",
    "ff_mult": "mlp_ratio",
    "normformer": "normformer",
    "rotary_emb": "rotary",
}
"""The original's options and ours, which have its defaults."""
_NET_FIXED = {"self_cond": False, "norm_in": False, "norm_out": True, "final_proj": True}
"""Options that only have these values here."""
_NET_UNSEEN = {"dim", "attn_dropout", "ff_dropout"}
"""What follows from the arrays, or changes no number outside of training."""
_PRIOR = {
    **{"timesteps": 1000, "beta_schedule": "cosine", "loss_type": "l2", "predict_x_start": True, "predict_v": False},
    **{"image_embed_scale": None, "sampling_clamp_l2norm": False, "sampling_final_clamp_l2norm": False},
    **{"training_clamp_l2norm": False, "init_image_embed_l2norm": False, "condition_on_text_encodings": True},
}
"""The original's defaults; files name what differs."""
_PRIOR_UNSEEN = {"cond_drop_prob", "text_cond_drop_prob", "image_cond_drop_prob", "image_embed_dim", "sample_timesteps"}
_SCHEDULES = {"cosine": "cosine", "linear": "linear", "quadratic": "quad", "jsd": "jsd"}
_ERRORS = {
    "l1": lambda e: e,
    "l2": jnp.square,
    "huber": lambda e: jnp.where(e < 1, 0.5 * jnp.square(e), e - 0.5),
}
"""Of the absolute error."""


def _network(stated: dict) -> Dalle2Prior:
    different = {name for name, value in _NET_FIXED.items() if stated.get(name, value) != value}
    unknown = different | (stated.keys() - _NET.keys() - _NET_FIXED.keys() - _NET_UNSEEN)
    if unknown:
        raise UnknownCase(f"no prior of ours is this one ({sorted(unknown)})")
    return Dalle2Prior(**{_NET[name]: value for name, value in stated.items() if name in _NET})


def _options(stated: dict) -> dict:
    unknown = stated.keys() - _PRIOR.keys() - _PRIOR_UNSEEN
    if unknown or not stated.get("condition_on_text_encodings", True):
        raise UnknownCase(f"a prior with {sorted(unknown) or 'no text encodings'}")
    return _PRIOR | stated


def _on_sphere(predictor: Predictor, chain: Chain, radius: float) -> Predictor:
    """With every predicted x0 brought to this length: what the original calls a clamp."""
    return lambda x, t: from_x0(radius * unit(predictor(x, t).x0), x, t, chain)


def _as_image(embedding):
    return embedding[..., None, None, :]


def _ddim(chain: Chain, model: Predictor, x, noise, num_steps: int):
    """The original's DDIM with eta 1, which is no sampler of ours: the noise that it steps by is not that of x.

    The step to each time takes its levels from one index below, where x has less noise than the network is told, and
    eps comes from the right level. So `ddim` walks a chain of the lower levels, and asks the model at the higher times.
    The last step takes x0.
    """
    if num_steps < 2:
        return x  # which the original then does not change
    times = np.linspace(-1.0, chain.num_levels, num_steps + 1, dtype=np.float32)[1:-1].astype(int)
    below = Chain(*(np.append(0.0, table)[times] for table in (chain.log_alphas, chain.sigmas)))
    view, grid = of_levels(times), levels(np.arange(len(times)))[:-1].astype(x.dtype)
    if len(times) > 1:
        x = run_chain(ddim(below, eta=1.0), seen(model, view), replay(noise, 1), x, grid).x
    return model(x, view.time(jnp.zeros(len(x), x.dtype))).x0


def _error(predictor: Predictor, chain: Chain, x0, t, noise, output: str):
    """Of what the network outputs, elementwise.

    `denoising` has it too, as a multiple of the error of eps; that multiple is infinite where a schedule ends without
    signal, as the original's linear one does of few levels.
    """
    prediction = predictor(chain.perturb(x0, t, noise), t)
    of_x0, of_eps = prediction.x0 - x0, prediction.eps - noise
    alpha, sigma = (_as_image(level[:, None]) for level in (chain.alpha(t), chain.sigma(t)))
    return {"x0": of_x0, "eps": of_eps, "v": alpha * of_eps - sigma * of_x0}[output]


def _tables(chain: Chain, dtype) -> dict:
    t = jnp.arange(chain.num_levels, dtype=dtype)
    variance, log_variance = posterior_mix(0.0)(chain, None, jnp.zeros((len(t), 1), dtype), t, t - 1)
    return {
        "out/ns_betas": chain.kernel(t, t - 1)[1],
        "out/ns_alphas_cumprod": chain.alpha(t) ** 2,
        "out/ns_posterior_variance": variance[:, 0],
        "out/ns_posterior_log_variance_clipped": log_variance[:, 0],
        "out/ns_p2_loss_weight": jnp.ones_like(t),  # The prior's class leaves the exponent of the weight at 0.
    }


def run_prior(file, dtype) -> dict:
    """The network with and without its conditions, guided, its loss, and whole walks with the stored noise."""
    config, given = file.meta["config"], file.group("in")
    module, options = _network(config["net"]), _options(config.get("prior", {}))
    if options["beta_schedule"] not in _SCHEDULES or options["loss_type"] not in _ERRORS:
        raise UnknownCase(f"schedule {options['beta_schedule']}, loss {options['loss_type']}")
    channels = given["x"].shape[-1]
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), prior_params(module, file.group("params"), channels=channels)
    )
    chain = chain_of_betas(BETAS[_SCHEDULES[options["beta_schedule"]]](options["timesteps"]))
    output = "v" if options["predict_v"] else "x0" if options["predict_x_start"] else "eps"
    radius = channels**0.5 if options["image_embed_scale"] is None else options["image_embed_scale"]

    @jax.jit
    def apply(params, x, label, *, context, text_embedding):
        return module.apply({"params": params}, x, label, context=context, text_embedding=text_embedding)

    text = jnp.asarray(given["text_embed"], dtype)
    states = jnp.asarray(given["text_states"][:, : module.text_length], dtype)
    said = {"context": states, "text_embedding": text}
    without_states = {"context": states[:, :0], "text_embedding": text}
    nothing = jax.tree.map(jnp.zeros_like, said)
    x, t = _as_image(jnp.asarray(given["x"], dtype)), jnp.asarray(given["t"], dtype)

    def raw(conditions):
        """What the network says, whatever it is of: guidance is of that."""
        return functools.partial(network_predictor(apply, chain, output="x0", label="index"), params, **conditions)

    predictor = functools.partial(network_predictor(apply, chain, output=output, label="index"), params, **said)
    on_sphere = functools.partial(_on_sphere, chain=chain, radius=radius)
    of_x0 = output == "x0"
    trained = on_sphere(predictor) if options["training_clamp_l2norm"] and of_x0 else predictor
    model = predictor if options["predict_x_start"] else clipped(predictor, chain)
    model = on_sphere(model) if options["sampling_clamp_l2norm"] and options["predict_x_start"] else model

    data = radius * _as_image(jnp.asarray(given["image_embed"], dtype))
    errors = jnp.abs(_error(trained, chain, data, t, x, output))
    start, noise = (_as_image(jnp.asarray(given[name], dtype)) for name in ("x_T", "noise"))
    start = radius * unit(start) if options["init_image_embed_l2norm"] else start
    grid = levels(np.arange(chain.num_levels)).astype(dtype)
    walk = run_chain(ancestral(chain, posterior_mix(0.0)), model, replay(noise, 1), start, grid)
    ends = {"out/sample_ddpm": walk.x, "out/sample_ddim": _ddim(chain, model, start, noise, config["ddim_steps"])}
    if options["sampling_final_clamp_l2norm"] and options["predict_x_start"]:
        ends = {name: radius * unit(end) for name, end in ends.items()}
    found = {
        "out/y": raw(said)(x, t).x0,
        "out/y_all_dropped": raw(nothing)(x, t).x0,
        "out/y_no_text_states": raw(without_states)(x, t).x0,
        "out/y_guided": classifier_free(raw(said), raw(nothing), constant(config["scale"]))(x, t).x0,
        **{name: end / radius for name, end in ends.items()},
    }
    return (
        {name: np.asarray(value[:, 0, 0]) for name, value in found.items()}
        | {"out/loss": jnp.mean(_ERRORS[options["loss_type"]](errors)), "out/image_embed_scale": np.asarray(radius)}
        | _tables(chain, dtype)
    )


HANDLERS = {("unclip", "dalle2_prior"): run_prior}
