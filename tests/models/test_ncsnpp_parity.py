"""NCSN++ and DDPM++ against numbers of the original PyTorch implementation, in float64."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.ncsnpp import NCSNpp

FOLDER = Path(os.environ.get("SCORE_JAX_PARITY", Path(__file__).parents[3] / "shared" / "parity")) / "score_sde"
CASES = ["net_ncsnpp_ve_cifar", "net_ncsnpp_vp", "net_ddpmpp_vp"]


def call_order(levels, blocks, attention_at, sizes, pyramid, fourier):
    """Our module names in the order in which the original creates its modules."""
    names = (["fourier"] if fourier else []) + ["embedding_1", "embedding_2", "conv_in"]
    for level in range(levels):
        for i in range(blocks):
            names.append(f"down_{level}_block_{i}")
            names += [f"down_{level}_attention_{i}"] if sizes[level] in attention_at else []
        if level < levels - 1:
            names.append(f"down_{level}_resample")
            names += [f"down_{level}_pyramid"] if pyramid else []
    names += ["middle_block_0", "middle_attention", "middle_block_1"]
    for level in reversed(range(levels)):
        names += [f"up_{level}_block_{i}" for i in range(blocks + 1)]
        names += [f"up_{level}_attention"] if sizes[level] in attention_at else []
        names += [f"up_{level}_resample"] if level else []
    return [*names, "norm_out", "conv_out"]


BLOCK = {
    "norm_1/norm": "GroupNorm_0",
    "conv_1": "Conv_0",
    "embedding": "Dense_0",
    "norm_2/norm": "GroupNorm_1",
    "conv_2": "Conv_1",
    "skip": "Conv_2",
}
ATTENTION = {"norm/norm": "GroupNorm_0", "query": "NIN_0", "key": "NIN_1", "value": "NIN_2", "out": "NIN_3"}


def tensor_name(name, path, order):
    layer, leaf = "/".join(path[1:-1]), path[-1]
    index = order.index(name)
    if leaf == "W":
        return f"all_modules.{index}.W"
    kind = {"kernel": "weight", "scale": "weight", "bias": "bias"}[leaf]
    if "attention" in name:
        inner = ATTENTION[layer]
        return f"all_modules.{index}.{inner}." + ({"weight": "W", "bias": "b"}[kind] if "NIN" in inner else kind)
    if "block" in name or "resample" in name:
        return f"all_modules.{index}.{BLOCK[layer]}.{kind}"
    if "pyramid" in name:
        return f"all_modules.{index}.Conv2d_0.{kind}"
    return f"all_modules.{index}.{kind}"


def layout(name, path, value):
    if path[-1] != "kernel" or (value.ndim == 2 and "attention" in name):
        return value
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no parity fixtures in {FOLDER} (set SCORE_JAX_PARITY)")
@pytest.mark.parametrize("case", CASES)
def test_equals_the_original(case, x64):
    z = np.load(FOLDER / f"{case}.npz")
    meta = json.loads(str(z["meta"]))
    m, size = meta["config"]["model"], meta["config"]["data"]["image_size"]
    sizes = [size // 2**i for i in range(len(m["ch_mult"]))]
    net = NCSNpp(
        channels=m["nf"],
        channel_mult=tuple(m["ch_mult"]),
        num_res_blocks=m["num_res_blocks"],
        attention_resolutions=tuple(m["attn_resolutions"]),
        dropout=m["dropout"],
        embedding=m["embedding_type"],
        fourier_scale=float(m["fourier_scale"]),
        fir=m["fir"],
        progressive_input=m["progressive_input"],
        scale_by_label=m["scale_by_sigma"],
        centered=meta["config"]["data"]["centered"],
    )
    x = jnp.asarray(z["in/x"].transpose(0, 2, 3, 1), jnp.float64)
    labels = jnp.asarray(z["in/labels"], jnp.float64)
    cotangent = jnp.asarray(z["in/cot"].transpose(0, 2, 3, 1), jnp.float64)
    order = call_order(
        len(sizes),
        m["num_res_blocks"],
        m["attn_resolutions"],
        sizes,
        m["progressive_input"] == "residual",
        m["embedding_type"] == "fourier",
    )
    shapes = jax.eval_shape(net.init, jax.random.key(0), x, labels)["params"]
    used = set()

    def load(path, shape):
        words = [k.key for k in path]
        name = "params/" + tensor_name(words[0], words, order)
        used.add(name)
        value = layout(words[0], words, z[name].astype(np.float64))
        assert value.shape == shape.shape, (name, value.shape, shape.shape)
        return jnp.asarray(value)

    params = jax.tree_util.tree_map_with_path(load, shapes)
    assert {k for k in z.files if k.startswith("params/")} - used <= {"params/sigmas"}

    @jax.jit
    def run(x):
        y, back = jax.vjp(lambda x: net.apply({"params": params}, x, labels), x)
        return y, back(cotangent)[0]

    y, grad = run(x)
    for ours, theirs in ((y, z["out64/y"]), (grad, z["grad64/x"])):
        theirs = theirs.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * np.abs(theirs).max())
