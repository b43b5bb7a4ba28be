"""Files of single operations, optimizers and moving averages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from score_jax.models.blocks.embeddings import RandomFourier, sinusoidal
from score_jax.models.blocks.instance_norm import ConditionalNorm, InstanceNormPlus, VarianceNorm
from score_jax.models.blocks.resampling import fir_down, fir_filter, fir_up, mean_down, nearest_up
from score_jax.models.unets import refinenet
from score_jax.processes.levels import NoiseLevels
from score_jax.training.optimizer import learning_rate_schedule, make_optimizer, update_ema


def _last(a):
    return jnp.moveaxis(a, 1, -1)


def _conv(x, weight, stride=1, padding="SAME", **kwargs):
    """A convolution with PyTorch's weight (out, in, h, w)."""
    return jax.lax.conv_general_dilated(
        x, jnp.transpose(weight, (2, 3, 1, 0)), (stride, stride), padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest", **kwargs,
    )  # fmt: skip


def _upfirdn(x, kernel, up: int, down: int, pad: tuple[int, int]):
    """Zero insertion, filter, decimation with any kernel; the library's filters are separable and of factor 2."""
    flipped = jnp.asarray(np.ascontiguousarray(kernel[::-1, ::-1]), x.dtype)
    channels = x.shape[-1]
    weight = jnp.broadcast_to(flipped, (channels, 1, *flipped.shape))
    # After the last pixel, too, zeros are inserted.
    widths = [(pad[0], pad[1] + up - 1)] * 2
    return _conv(x, weight, down, widths, lhs_dilation=(up, up), feature_group_count=channels)


def _chained_pooling(x, weights, pool):
    x = jax.nn.elu(x)
    path = x
    for weight in weights:
        path = _conv(pool(path), weight)
        x = x + path
    return x


def ops(file, dtype) -> dict:
    """score_sde's layers."""
    given = {name: jnp.asarray(a, dtype if a.dtype.kind == "f" else None) for name, a in file.group("in").items()}
    config, taps = file.meta["config"], tuple(file.meta["config"]["fir_kernel"])
    x = _last(given["x"])
    norm = {"gamma": given["in_gamma"], "alpha": given["in_alpha"], "beta": given["in_beta"]}
    table, y = given["cin_embed"], given["cin_y"].astype(dtype)
    without_shift = jnp.concatenate([table[:, : 2 * x.shape[-1]], jnp.zeros_like(table[:, : x.shape[-1]])], axis=1)
    crp = [given["crp0"], given["crp1"]]
    conditional = ConditionalNorm(len(table))
    images = {
        "upsample_2d": fir_up(x, taps),
        "downsample_2d": fir_down(x, taps),
        "upsample_2d_nokernel": fir_up(x, (1, 1)),
        "downsample_2d_nokernel": fir_down(x, (1, 1)),
        "conv_downsample_2d": _conv(fir_filter(x, taps, (len(taps) // 2, len(taps) // 2)), given["w3"], 2, "VALID"),
        "naive_upsample_2d": nearest_up(x),
        "naive_downsample_2d": mean_down(x),
        "upfirdn2d_u2d3_pad": _upfirdn(x, given["kern"], 2, 3, (2, 1)),
        "upfirdn2d_negpad": _upfirdn(x, given["kern"], 1, 1, (-1, 2)),
        "instance_norm_plus": InstanceNormPlus().apply({"params": norm}, x),
        "variance_norm": VarianceNorm().apply({"params": {"alpha": given["in_alpha"]}}, x),
        "cond_instance_norm_plus": conditional.apply({"params": {"table": table}}, x, y),
        "cond_instance_norm_plus_nobias": conditional.apply({"params": {"table": without_shift}}, x, y),
        "nin": jnp.tensordot(x, given["nin_W"], 1, precision="highest") + given["nin_b"],
        "conv_mean_pool": mean_down(_conv(x, given["w3"]) + given["b3"]),
        "crp_maxpool_elu": _chained_pooling(x, crp, refinenet.max_pool),
        "crp_avgpool_elu": _chained_pooling(x, crp, refinenet.average_pool),
        "bilinear_align_corners": refinenet.resize_align_corners(x, *config["interp"]),
        "ddpm_downsample_conv": _conv(x, given["crp0"], 2, ((0, 1), (0, 1))) + given["in_beta"],
        "ddpm_downsample_pool": mean_down(x),
    }
    found = {f"out/{name}": jnp.moveaxis(image, -1, 1) for name, image in images.items()}
    for width in config["emb_dims"]:
        found[f"out/timestep_embedding_{width}"] = sinusoidal(given["timesteps"], width)
    fourier = RandomFourier(len(given["fourier_W"]), 1.0)
    found["out/gaussian_fourier"] = fourier.apply({"params": {"W": given["fourier_W"]}}, given["fourier_in"])
    one = np.asarray(taps) / sum(taps)
    found["out/setup_kernel"] = np.outer(one, one)
    return found


def optimizer(file, dtype) -> dict:
    """score_sde's warm-up, clipping, Adam and average."""
    given, c = file.group("in"), file.meta["config"]
    schedule = learning_rate_schedule(c["lr"], c["warmup"], "constant", c["n"])
    rest = {"eps": c["eps"], "weight_decay": c["weight_decay"], "clip_norm": c["grad_clip"]}
    tx = make_optimizer("adam", schedule, b1=c["beta1"], b2=0.999, **rest)
    params = {"w": jnp.asarray(given["w0"], dtype), "b": jnp.asarray(given["b0"], dtype)}
    average, state, rows = params, tx.init(params), []
    for step in range(c["n"]):
        gradients = {"w": jnp.asarray(given["gw"][step], dtype), "b": jnp.asarray(given["gb"][step], dtype)}
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        average = update_ema(average, params, c["ema_rate"], True, jnp.asarray(step + 1))
        rows.append((params["w"], params["b"], average["w"]))
    w, b, ema = (np.stack(column) for column in zip(*rows, strict=True))
    return {"out/w": w, "out/b": b, "out/ema_w": ema}


def _averages(start, rows, rate: float, dtype) -> np.ndarray:
    average, kept = jnp.asarray(start, dtype), []
    for row in rows:
        average = update_ema(average, jnp.asarray(row, dtype), rate, False, jnp.asarray(1))
        kept.append(average)
    return np.stack(kept)


def ema(file, dtype) -> dict:
    """guided-diffusion's average."""
    given = file.group("in")
    return {"out/ema": _averages(given["w0"], given["w"], file.meta["config"]["rate"], dtype)}


def sigmas_ema(file, dtype) -> dict:
    """NCSNv2's noise levels and average."""
    given, config, found = file.group("in"), file.meta["config"], {}
    for k, entry in enumerate(config["sigma_sets"]):
        levels = NoiseLevels(entry["sigma_begin"], entry["sigma_end"], entry["num_classes"], entry["sigma_dist"])
        found[f"out/sigmas_{k}"] = levels.sigmas
    return found | {"out/ema": _averages(given["w"][0], given["w"], config["mu"], dtype)}


HANDLERS = {
    ("score_sde", "ops"): ops,
    ("score_sde", "optim_ema"): optimizer,
    ("guided_diffusion", "ema"): ema,
    ("ncsnv2", "sigmas_ema"): sigmas_ema,
}
