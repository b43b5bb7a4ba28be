"""Files of NCSN's and NCSNv2's losses and annealed Langevin samplers."""

import jax
import jax.numpy as jnp
import numpy as np
from toys import mixture_score, mlp_energy_score, mlp_score

from originals import by_name
from score_jax.guidance import measurements
from score_jax.losses import sliced, weighting
from score_jax.losses.score_matching import denoising
from score_jax.prediction.predictor import from_score
from score_jax.processes.chain import ve_chain
from score_jax.processes.noise import replay
from score_jax.samplers import langevin
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import levels


def _chain(config: dict):
    return ve_chain(config["sigma_end"], config["sigma_begin"], config["L"])


def _sigmas(chain, dtype):
    """From the most noise down, as NCSN counts them."""
    return chain.sigma(jnp.arange(chain.num_levels, dtype=dtype))[::-1]


def _langevin(file, dtype, chain):
    """The step rule at every level, and the mixture as the model."""
    config, mixture = file.meta["config"], mixture_score(file.group("in"), dtype)
    sizes = langevin.by_level(chain, config["step_lr"], chain.sigmas[0])

    def model(x, k):
        return from_score(mixture(x, jnp.ones_like(k), chain.sigma(k)), x, k, chain)

    return langevin.langevin(sizes), model


def annealed_langevin(file, dtype) -> dict:
    """NCSN shows states before each update, held to [0, 1]; NCSNv2 those after, and one denoised."""
    given, config, old = file.group("in"), file.meta["config"], file.meta["system"] == "ncsn"
    chain = _chain(config)
    step, model = _langevin(file, dtype, chain)
    grid = levels(np.arange(config["L"]), config["n_steps"], end=None).astype(dtype)
    count, stored = len(grid) - 1, jnp.asarray(given["noise"], dtype)
    walk = run_chain(step, model, replay(stored, 1), jnp.asarray(given["x0"], dtype), grid, tuple(range(count + 1)))
    if old:
        return {"out/images": jnp.clip(walk.kept[:-1], 0, 1), "out/sigmas": _sigmas(chain, jnp.result_type(float))}
    denoised = model(walk.x, jnp.zeros(len(walk.x), dtype)).x0
    images = jnp.concatenate([walk.kept[1:], denoised[None]])
    return {"out/images": images, "out/final_denoise1": denoised, "out/final_denoise0": walk.x}


def langevin_fixed(file, dtype) -> dict:
    """Langevin at the last level alone; its step is not scaled."""
    given, config = file.group("in"), file.meta["config"]
    chain = _chain(config)
    step, model = _langevin(file, dtype, chain)
    count = config["n_steps"]
    grid = jnp.full(
        count + 1, chain.num_levels - 1 - 9, dtype
    )  # the original's label is 9, whatever the number of levels
    walk = run_chain(
        step, model, replay(jnp.asarray(given["noise"], dtype), 1), jnp.asarray(given["x0"], dtype), grid,
        tuple(range(count)),
    )  # fmt: skip
    return {"out/images": jnp.clip(walk.kept, 0, 1)}


def inpainting(file, dtype) -> dict:
    """The left half known: its corruption drawn once per level (NCSN), or at each step (NCSNv2)."""
    given, config, old = file.group("in"), file.meta["config"], file.meta["system"] == "ncsn"
    chain = _chain(config)
    step, model = _langevin(file, dtype, chain)
    x = jnp.asarray(given["x0"], dtype)
    x = x.reshape(-1, *x.shape[2:])
    refer = jnp.repeat(jnp.asarray(given["refer"], dtype), len(x) // len(given["refer"]), axis=0)
    half = given["half_noise"].shape[-1]
    left = jnp.zeros(refer.shape[1:], dtype).at[..., :half].set(1.0)
    measurement, y = measurements.mask(left), refer * left
    corruption = jnp.zeros((len(given["half_noise"]), *x.shape), dtype)
    corruption = corruption.at[..., :half].set(jnp.asarray(given["half_noise"], dtype))
    per_level, last = config["n_steps"], config["L"] - 1
    grid = levels(np.arange(config["L"]), per_level, end=None).astype(dtype)
    stored, count = jnp.asarray(given["noise"], dtype), len(grid) - 1

    def of_level(_, k):  # drawn once per level
        return measurements.noised(chain, measurement, y, k, corruption[(last - k[0]).astype(int)])

    def of_step(noise, k):  # the step's second draw
        return measurements.noised(chain, measurement, y, k, noise(1))

    known = of_level if old else of_step
    both = jnp.stack([stored, corruption], axis=1).reshape(-1, *x.shape) if not old else stored
    path = replay(both, 1 if old else 2)
    held = measurements.held_before(step, measurement, known, after=old)
    walk = run_chain(held, model, path, x, grid, tuple(range(count)))
    # Both record the state with the known half of its step written, before the update.
    images = []
    for k in config["keep"]:
        level = jnp.full(len(x), grid[k])
        images.append(measurements.replace(measurement, walk.kept[k], known(path(jnp.asarray(k)), level)))
    images = jnp.stack(images)
    return {"out/images": jnp.clip(images, 0, 1) if old else images, "out/n_images": count}


def interpolation(file, dtype) -> dict:
    """Noise rotated from one draw to another, from equal starts."""
    given, config = file.group("in"), file.meta["config"]
    chain, count = _chain(config), config["n_interp"]
    step, model = _langevin(file, dtype, chain)
    p, q = (jnp.asarray(given[name], dtype) for name in ("noise_p", "noise_q"))
    stored = langevin.rotated(p, q, count)
    x = jnp.repeat(jnp.asarray(given["x0"], dtype), count, axis=0)
    grid = levels(np.arange(config["L"]), config["n_steps"], end=None).astype(dtype)
    return {"out/final": run_chain(step, model, replay(stored, 1), x, grid).x}


def losses(file, dtype) -> dict:
    """Denoising and sliced score matching of a small score and a small energy."""
    given, config = file.group("in"), file.meta["config"]
    chain = _chain(config)
    x, noise, xv, vnoise = (jnp.asarray(given[name], dtype) for name in ("x", "noise", "xv", "vnoise"))
    index = chain.t_max - jnp.asarray(given["labels"], dtype)
    net, energy = mlp_score(given, dtype), mlp_energy_score(given, dtype)

    def labelled(x, k):
        return from_score(net(x, (chain.t_max - k).astype(int)), x, k, chain)

    def half_mean(predictor, process, x, t, z, power):
        return 0.5 * jnp.mean(denoising(predictor, process, x, t, z, weighting.sigma_power(power)))

    found = {
        f"out/anneal_dsm_p{power}": half_mean(labelled, chain, x, index, noise, power) for power in (2.0, 1.0, 0.0)
    }
    found["out/sigmas"] = _sigmas(chain, jnp.result_type(float))
    if "proj" not in given:
        return found
    one = ve_chain(config["sigma"], config["sigma"], 1)
    bottom, particles = jnp.zeros(len(x), dtype), config["n_particles"]

    def unlabelled(score):
        return lambda x, k: from_score(score(x), x, k, one)

    found["out/dsm_score"] = half_mean(unlabelled(net), one, x, bottom, noise, 0.0)
    found["out/dsm_energy"] = half_mean(unlabelled(energy), one, xv, bottom, vnoise, 4.0)

    def repeated(a):
        return jnp.concatenate([a] * particles)

    proj, projv = jnp.asarray(given["proj"], dtype), jnp.asarray(given["projv"], dtype)
    found["out/anneal_ssm_vr"] = jnp.mean(
        sliced.annealed(
            lambda x, k: net(x, (chain.t_max - k).astype(int)), chain,
            repeated(x), repeated(index), repeated(noise), proj,
        )
    )  # fmt: skip
    for name, score, at, v in (("score", net, xv, projv), ("energy", energy, xv, projv)):
        for suffix, direction, reduced in (("", sliced.unit(v), False), ("_vr", v, True)):
            norm, bend = sliced.sliced(score, repeated(at), direction, variance_reduced=reduced)
            found[f"out/ssm_{name}{suffix}_loss"] = jnp.mean(norm + bend)
            found[f"out/ssm_{name}{suffix}_loss1"] = jnp.mean(norm)
            found[f"out/ssm_{name}{suffix}_loss2"] = jnp.mean(bend)
    for name, reduced in (("single", False), ("partial", True)):
        for kind, project in (
            ("radermacher", sliced.rademacher),
            ("sphere", sliced.sphere),
            ("gaussian", sliced.gaussian),
        ):
            parts = sliced.sliced(energy, xv, project(vnoise), variance_reduced=reduced)
            found[f"out/{name}_ssm_{kind}"] = jnp.mean(sum(parts))
    return {name: value for name, value in found.items() if name in file.arrays}


def toy2d(file, dtype) -> dict:
    """NCSN's toy: two normal laws in the plane, under plain and annealed Langevin."""
    given, config = file.group("in"), file.meta["config"]
    xy = jnp.asarray(given["xy"], dtype)
    means, log_w = jnp.asarray([[5.0, 5.0], [-5.0, -5.0]], dtype), jnp.log(jnp.asarray([0.8, 0.2], dtype))

    def log_prob(x, sigma):
        distance = jnp.sum((x[:, None] - means) ** 2, axis=2)
        # The original's normaliser is that of one dimension.
        logits = log_w - distance / (2 * sigma[:, None] ** 2) - 0.5 * jnp.log(2 * jnp.pi * sigma[:, None] ** 2)
        return jax.nn.logsumexp(logits, axis=1)

    def score(x, sigma):
        return jax.grad(lambda x: jnp.sum(log_prob(x, sigma)))(x)

    found = {}
    for value in config["sigmas_eval"]:
        sigma = jnp.full(len(xy), value, dtype)
        found[f"out/log_prob_s{value}"], found[f"out/score_s{value}"] = log_prob(xy, sigma), score(xy, sigma)
    found["out/gmmdist_log_prob"] = log_prob(xy, jnp.ones(len(xy), dtype))
    chain, one = _chain(config), ve_chain(1.0, 1.0, 1)
    for name, levels_of, repeats in (
        ("langevin", one, len(given["noise_ld"])),
        ("anneal_langevin", chain, config["n_steps"]),
    ):
        # Their lr is twice our step.
        sizes = langevin.by_level(levels_of, config["lr"] / 2, levels_of.sigmas[0])
        stored = given["noise_ld" if name == "langevin" else "noise_ald"]
        grid = levels(np.arange(levels_of.num_levels), repeats, end=None).astype(dtype)

        def model(x, k, chain=levels_of):
            return from_score(score(x, chain.sigma(k)), x, k, chain)

        path = replay(jnp.asarray(stored, dtype), 1)
        found[f"out/{name}"] = run_chain(langevin.langevin(sizes), model, path, xy, grid).x
    return found


HANDLERS = {
    **by_name("ncsn", toy2d, annealed_langevin, langevin_fixed, inpainting, losses),
    **by_name("ncsnv2", annealed_langevin, inpainting, interpolation, losses),
}
