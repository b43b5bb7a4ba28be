"""Cases of LPIPS: the whole network on VGG16 of any widths, and its heads on given features."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from originals import UnknownCase
from score_jax.convert import lpips
from score_jax.models.scorers.lpips import LPIPS, LPIPSNetwork, layer_difference, parameter_shapes
from score_jax.models.scorers.vgg16 import VGG16_WIDTHS, Widths

_NHWC = "b c h w -> b h w c"


def _widths(config) -> Widths:
    """As lists of torchvision's kind say, "M" where a block ends."""
    if set(config) - {"widths", "chns", "recipe_seed"}:
        raise UnknownCase(f"a network with {sorted(config)}")
    blocks: list[list[int]] = [[]]
    for width in config["widths"]:
        blocks = [*blocks, []] if width == "M" else [*blocks[:-1], [*blocks[-1], width]]
    widths = tuple(tuple(block) for block in blocks if block)
    depths = [len(block) for block in VGG16_WIDTHS]
    if [len(block) for block in widths] != depths or list(config["chns"]) != [block[-1] for block in widths]:
        raise UnknownCase(f"widths {config['widths']} with heads of {config['chns']}")
    return widths


def _recipe(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The weights of files that do not store them, as their `how` says."""
    n = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32).randn(*shape)
    return (0.1 * n if name.endswith("bias") else n * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def _network(file, dtype) -> LPIPSNetwork:
    config, state = file.meta["config"], file.group("params")
    widths = _widths(config)
    if "recipe_seed" in config:
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.int8), parameter_shapes(LPIPS(widths)))
        absent = {name: tensor.shape for name, tensor in lpips.state_of(zeros).items() if name not in state}
        state |= {name: _recipe(name, shape, config["recipe_seed"]) for name, shape in absent.items()}
    network = lpips.lpips_of(state, state)
    if network.module.widths != widths:
        raise UnknownCase(f"weights of widths {network.module.widths}")
    return LPIPSNetwork(network.module, jax.tree.map(lambda a: jnp.asarray(a, dtype), network.params))


def run_network(file, dtype):
    """Values, maps, the means of the first image's features, and the gradient with respect to it."""
    network = _network(file, dtype)
    x, y = (jnp.asarray(rearrange(file.group("in")[name], _NHWC), dtype) for name in ("x0", "x1"))

    def distances(params, x, y):
        return network.distance(params, x, y)[:, None, None, None]

    @jax.jit
    def run(params, x, y):
        plain = params | {name: jnp.ones_like(head) for name, head in params.items() if name.startswith("head")}
        value, back = jax.vjp(lambda x: distances(params, x, y), x)
        features = network.module.apply({"params": params}, x, method="features")
        return {
            "out/val": value,
            "out/taming_val": value,
            "out/val_normalize": distances(params, 2 * ((x + 1) / 2) - 1, 2 * ((y + 1) / 2) - 1),
            "out/val_baseline_unweighted": distances(plain, x, y),
            "out/per_layer": network.per_layer(params, x, y).T[..., None, None, None],
            "out/spatial_map": rearrange(network.spatial_map(params, x, y), "b h w 1 -> b 1 h w"),
            "grad/x0": rearrange(back(jnp.ones_like(value))[0], "b h w c -> b c h w"),
            **{f"out/feature{i}_channel_mean": jnp.mean(maps, axis=(1, 2)) for i, maps in enumerate(features)},
        }

    return {name: np.asarray(value) for name, value in run(network.params, x, y).items() if name in file.arrays}


def run_heads(file, dtype):
    """Features in, the layers' differences out."""
    given, heads = file.group("in"), file.group("params")
    layers = len(heads)
    if set(file.meta["config"]) - {"chns"}:
        raise UnknownCase(f"heads with {sorted(file.meta['config'])}")
    if set(given) != {f"feat{j}_{i}" for i in range(layers) for j in (0, 1)}:
        raise UnknownCase(f"features {sorted(given)} for {layers} heads")

    @jax.jit
    def layer(x, y, head):
        return jnp.mean(layer_difference(x, y, head), axis=(1, 2))

    found = {}
    for i in range(layers):
        pair = (jnp.asarray(rearrange(given[f"feat{j}_{i}"], _NHWC), dtype) for j in (0, 1))
        head = lpips.table((f"head{i}",))
        weights = heads[head.name]
        if weights.shape != (1, given[f"feat0_{i}"].shape[1], 1, 1):
            raise UnknownCase(f"{head.name} of shape {weights.shape}")
        value = layer(*pair, jnp.asarray(head.ours(weights), dtype))
        found[f"out/layer{i}"] = np.asarray(value)[..., None, None]
    return found | {"out/val": np.sum(list(found.values()), axis=0)}


HANDLERS = {
    ("lpips", "lpips_vgg"): run_network,
    ("lpips", "lpips_heads"): run_heads,
}
