"""Files of unCLIP's sampling: the loops of Karlo's prior, decoder and upsampler, and diffusers' scheduler."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from unclip_network_cases import floats, karlo_decoder, karlo_prior, karlo_upsampler, loaded, of_text

from originals import UnknownCase
from score_jax.convert import adm, unclip
from score_jax.guidance.classifier_free import classifier_free
from score_jax.prediction.predictor import OUTPUTS, clipped
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import Chain, vp_chain
from score_jax.processes.noise import replay
from score_jax.processes.respacing import Respaced, kept_levels, respace
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import even_levels, levels
from score_jax.samplers.steps import ancestral

_X0_BOUND = 10.0
"""Karlo holds predicted embeddings, in standard deviations, within this."""
_SCHEDULES = {"squaredcos_cap_v2": "cosine", "linear": "linear"}


def _spaced(diffusion: dict, respacing: str) -> Respaced:
    if diffusion["noise_schedule"] not in _SCHEDULES:
        raise UnknownCase(f"schedule {diffusion['noise_schedule']}")
    chain = vp_chain(_SCHEDULES[diffusion["noise_schedule"]], diffusion["steps"])
    return respace(chain, kept_levels(diffusion["steps"], respacing or str(diffusion["steps"])))


def _predictor(spaced: Respaced, apply, output: str):
    """`apply(x, time_label)` as a predictor on the kept levels; the network knows the indices of the whole chain."""

    def model(x, t):
        raw = apply(x, jnp.asarray(spaced.levels, t.dtype)[t.astype(jnp.int32)])
        predicted, variance = jnp.split(raw, [x.shape[-1]], axis=-1)
        prediction = OUTPUTS[output](predicted, x, t, spaced.chain)
        return dataclasses.replace(prediction, variance=variance) if variance.size else prediction

    return model


def _walked(chain: Chain, model, variance: str, x, noise):
    """Every state of an ancestral loop with stored noise (k, b, ...)."""
    grid = levels(np.arange(chain.num_levels)).astype(x.dtype)
    step = ancestral(chain, VARIANCES[variance])
    return run_chain(step, model, replay(noise, 1), x, grid, tuple(range(1, chain.num_levels + 1))).kept


def _halves(conditions: dict) -> tuple[dict, dict]:
    """Of a batch whose first half has the caption, and whose second has none."""
    half = len(conditions["context"]) // 2
    return tuple({name: value[part] for name, value in conditions.items()} for part in (slice(half), slice(half, None)))


def _guided(spaced: Respaced, network, params, output: str, conditions: tuple[dict, dict], scale):
    """The network guided by itself without a caption; a scale per example."""
    given, none = (
        _predictor(spaced, lambda x, t, own=own: network.apply(params, x, t, **own), output) for own in conditions
    )
    return classifier_free(given, none, lambda t: jnp.broadcast_to(scale, t.shape))


def _images(states) -> np.ndarray:
    return np.moveaxis(np.asarray(states), -1, -3)


def karlo_prior_sample(file, dtype):
    """The embeddings at the end of the guided loop, in CLIP's own units."""
    given, c = floats(file, dtype), file.meta["config"]
    values, diffusion = c["conf"]["model"]["hparams"], c["conf"]["diffusion"]
    if not (diffusion["predict_xstart"] and diffusion["sigma_small"]) or diffusion["learn_sigma"]:
        raise UnknownCase(f"a prior with {diffusion}")
    network, spaced = karlo_prior(values, given["text_states"].shape[-1]), _spaced(diffusion, c["respacing"])
    half = len(given["x_T"]) // 2
    x, noise = given["x_T"][:half, None, None], given["noise"][:, :half, None, None]
    params = loaded(
        network,
        file.group("params"),
        unclip.prior_table(network),
        dtype,
        x,
        jnp.zeros(half, dtype),
        buffers=unclip.PRIOR_BUFFERS,
        **_halves(of_text(given))[0],
    )
    model = _guided(spaced, network, params, "x0", _halves(of_text(given)), given["scales"][:half])
    held = clipped(model, spaced.chain, -_X0_BOUND, _X0_BOUND)
    last = _walked(spaced.chain, held, "fixed_small", x, noise)[-1][:, 0, 0]
    return {
        "out/image_embed": np.asarray(last * given["clip_std"] + given["clip_mean"]),
        "out/timestep_map": spaced.levels,
    }


def karlo_decoder_sample(file, dtype):
    """Every image of the guided loop; the embedding is dropped together with the caption."""
    given, c = floats(file, dtype), file.meta["config"]
    if c["diffusion"]["predict_xstart"] or not c["diffusion"]["learn_sigma"]:
        raise UnknownCase(f"a decoder with {c['diffusion']}")
    network, spaced = karlo_decoder(c["model"]), _spaced(c["diffusion"], c["respacing"])
    half, z = len(given["x_T"]) // 2, given["image_embed"]
    with_caption, without = _halves(of_text(given))
    conditions = (
        with_caption | {"image_embedding": z},
        without | {"image_embedding": jnp.zeros_like(z)},
    )
    x, noise = given["x_T"][:half], jnp.moveaxis(given_noise(file, dtype)[:, :half], 2, -1)
    example = (x, jnp.zeros(half, dtype))
    params = loaded(network, file.group("params"), unclip.decoder_table(network), dtype, *example, **conditions[0])
    model = _guided(spaced, network, params, "eps", conditions, given["scales"][:half])
    states = _walked(spaced.chain, clipped(model, spaced.chain), "learned_range", x, noise)
    return {"out/samples": _images(states), "out/timestep_map": spaced.levels}


def given_noise(file, dtype):
    """The stored draws, a batch for every step."""
    return jnp.asarray(file.group("in")["noise"], dtype)


def karlo_superres(file, dtype):
    """One output, and every image of the loop, whose last step another network takes."""
    given, c = floats(file, dtype), file.meta["config"]
    network, spaced = karlo_upsampler(c["model"]), _spaced(c["diffusion"], c["diffusion"]["timestep_respacing"])
    if c["diffusion"]["predict_xstart"] or c["diffusion"]["learn_sigma"] or not c["diffusion"]["sigma_small"]:
        raise UnknownCase(f"an upsampler with {c['diffusion']}")
    state, own = file.group("params"), {"low_res": given["low_res"]}
    example, size = (given["x"], given["t"]), given["x"].shape[1]
    first, last = (
        loaded(
            network,
            {name.removeprefix(prefix): leaf for name, leaf in state.items() if name.startswith(prefix)},
            adm.table(network, size),
            dtype,
            *example,
            **own,
        )
        for prefix in ("model_first_steps.", "model_last_step.")
    )

    def apply(x, t):
        params = [network.apply(own_params, x, t, **own) for own_params in (first, last)]
        return jnp.where((t == spaced.levels[0])[:, None, None, None], params[1], params[0])

    model = clipped(_predictor(spaced, apply, "eps"), spaced.chain)
    noise = jnp.moveaxis(given_noise(file, dtype), 2, -1)
    states = _walked(spaced.chain, model, "fixed_small", given["x_T"], noise)
    y = network.apply(first, *example, **own)
    return {"out/y": _images(y), "out/samples": _images(states), "out/timestep_map": spaced.levels}


_SCHEDULER = {
    "variance_type": "fixed_small_log",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
}
"""Defaults of diffusers' `UnCLIPScheduler`."""
_VARIANCES = {"fixed_small_log": "fixed_small", "learned_range": "learned_range"}


def scheduler(file, dtype):
    """A loop over a toy, state by state, its predicted x0, and the tables of the chain."""
    given = {name: jnp.asarray(value, dtype) for name, value in file.group("in").items()}
    c, steps = _SCHEDULER | file.meta["config"]["scheduler"], file.meta["config"]["steps"]
    count, learned = c["num_train_timesteps"], c["variance_type"] == "learned_range"
    chain = vp_chain(_SCHEDULES[c["beta_schedule"]], count)
    spaced = respace(chain, even_levels(count, steps))
    output = {"epsilon": "eps", "sample": "x0"}[c["prediction_type"]]

    def toy(x, t):
        told = t.reshape(-1, *(1,) * (x.ndim - 1))
        raw = [0.7 * x + 0.2 * jnp.sin(2.1 * x + 0.013 * told)]
        return jnp.concatenate(raw + [jnp.tanh(0.9 * x + 0.001 * told)] * learned, axis=-1)

    model = _predictor(spaced, toy, output)
    if c["clip_sample"]:
        model = clipped(model, spaced.chain, -c["clip_sample_range"], c["clip_sample_range"])
    x = given["x_T"]
    noise = jnp.concatenate([given["noise"], jnp.zeros_like(x)[None]])  # nothing is drawn at the last step
    kept = _walked(spaced.chain, model, _VARIANCES[c["variance_type"]], x, noise)
    before = [x, *kept[:-1]]
    predicted = [model(state, jnp.full(len(x), float(steps - 1 - i), dtype)).x0 for i, state in enumerate(before)]
    t = jnp.arange(count, dtype=dtype)
    return {
        "out/x": kept,
        "out/pred_x0": jnp.stack(predicted),
        "out/timesteps": spaced.levels[::-1],
        "out/betas": chain.kernel(t, t - 1)[1],
        "out/alphas_cumprod": chain.alpha(t) ** 2,
        "out/add_noise": chain.perturb(given["x0"], given["t_add"], given["noise_add"]),
    }


HANDLERS = {
    ("unclip", "karlo_prior_sample"): karlo_prior_sample,
    ("unclip", "karlo_decoder_sample"): karlo_decoder_sample,
    ("unclip", "karlo_sr"): karlo_superres,
    ("unclip", "unclip_scheduler"): scheduler,
}
