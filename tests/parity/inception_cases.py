"""Cases of the FID Inception: its blocks, the whole network under two evaluators, and the ways to resize."""

import functools
import re
import zlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image as PILImage

from originals import UnknownCase
from score_jax.convert import inception
from score_jax.convert.correspondence import to_ours
from score_jax.data.images import FILTERS
from score_jax.evaluation import resize
from score_jax.evaluation.inception import SIZE, input_rule
from score_jax.evaluation.input_rule import prepared
from score_jax.models.scorers.inception import (
    BlockA,
    BlockB,
    BlockC,
    BlockD,
    BlockE,
    FIDInception,
    Maps,
    Unit,
    convolved,
)

BUFFERS = ".*num_batches_tracked$"


class _Basic(nn.Module):
    """One unit by itself."""

    features: int
    size: tuple[int, int]
    stride: int
    padding: Any

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        return convolved(Unit(self.features, self.size, name="unit"), x, self.stride, self.padding)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _block(config: dict[str, Any]) -> nn.Module:
    """Arguments begin with the input channels, which ours take from the input."""
    kind, arguments = config["block"], config["args"][1:]
    match kind:
        case "A":
            return BlockA(*arguments)
        case "B":
            return BlockB()
        case "C":
            return BlockC(*arguments)
        case "D":
            return BlockD()
        case "E_1" | "E_2":
            return BlockE("average" if kind == "E_1" else "maximum")
        case "Basic":
            features, options = arguments
            strides = _pair(options.get("stride", 1))
            padding = [(p, p) for p in _pair(options.get("padding", 0))]
            if set(options) > {"kernel_size", "stride", "padding"} or strides[0] != strides[1]:
                raise UnknownCase(f"a unit with {options}")
            return _Basic(features, _pair(options["kernel_size"]), strides[0], padding)
    raise UnknownCase(f"block {kind!r}")


def _recipe(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The weights of files that do not store them, as their `how` says."""
    n = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32).randn(*shape)
    if name.endswith("running_var"):
        values = np.exp(0.2 * n)
    elif name.endswith(("running_mean", "bias")):
        values = 0.1 * n
    elif len(shape) == 1:
        values = 1 + 0.1 * n
    elif len(shape) == 2:
        values = n / np.sqrt(shape[1])
    else:
        values = n * np.sqrt(2 / np.prod(shape[1:]))
    return values.astype(np.float32)


def _params(file, module: nn.Module, x: jax.Array, dtype, table=inception.table):
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    state, seed = file.group("params"), file.meta["config"].get("recipe_seed")
    if not state:
        paths = [tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
        leaves = jax.tree.leaves(shapes)
        for path, leaf in zip(paths, leaves, strict=True):
            counterpart = table(path)
            shape = counterpart.theirs(np.broadcast_to(np.zeros((), np.int8), leaf.shape)).shape
            state[counterpart.name] = _recipe(counterpart.name, shape, seed)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), to_ours(state, shapes, table, buffers=BUFFERS))


def _unit_table(path):
    return inception.table(path[1:] if path[0] == "unit" else path)


def run_block(file, dtype):
    """One block, or one unit."""
    module = _block(file.meta["config"])
    x = jnp.asarray(file.group("in")["x"].transpose(0, 2, 3, 1), dtype)
    table = _unit_table if isinstance(module, _Basic) else inception.table
    y = jax.jit(module.apply)({"params": _params(file, module, x, dtype, table)}, x)
    return {"out/y": np.asarray(y).transpose(0, 3, 1, 2)}


def run_network(file, dtype):
    """Under torch-fidelity's and pytorch-fid's preparation of images."""
    images = jnp.asarray(file.group("in")["images"].transpose(0, 2, 3, 1))
    module = FIDInception()
    params = _params(file, module, jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), dtype), dtype)

    @functools.partial(jax.jit, static_argnames=("how", "centre"))
    def layers(images, how, centre):
        found = module.apply({"params": params}, prepared(images, input_rule(how, centre)))
        whole = ("pool3", "logits", "logits_unbiased", "spatial")
        return found, {name: value.mean(axis=(1, 2)) for name, value in found.items() if name not in whole}

    theirs, means = layers(images, "tf1", 128.0)
    found = {f"out/spatial_mean_{name}": value for name, value in means.items()}
    found["out/sfid_mixed6d_branch1x1_first7"] = theirs["spatial"].transpose(0, 3, 1, 2)
    taps = {"64": _pooled(theirs["Conv2d_2b_3x3"]), "192": _pooled(theirs["Conv2d_4a_3x3"])}
    found |= {f"out/tf_{name}": value.mean(axis=(1, 2)) for name, value in taps.items()}
    found |= {"out/tf_768": means["Mixed_6e"], "out/tf_2048": theirs["pool3"]}
    found |= {f"out/tf_{name}": theirs[name] for name in ("logits", "logits_unbiased")}
    torch, torch_means = layers(images, "torch", 127.5)
    blocks = [_pooled(torch[name]).mean(axis=(1, 2)) for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3")]
    blocks += [torch_means["Mixed_6e"], torch["pool3"]]
    found |= {f"out/pf_block{i}_spatial_mean": value for i, value in enumerate(blocks)}
    found["out/pf_pool3"] = torch["pool3"]
    return {name: np.asarray(value) for name, value in found.items()}


def _pooled(x):
    """What follows those two layers, and what both evaluators call after them."""
    return nn.max_pool(x, (3, 3), (2, 2))


def run_resize(file, dtype):
    """By the names of the outputs: way, image, size."""
    found = {}
    for name in file.group("out"):
        match = re.fullmatch(r"(\w+?)_(img\d+)_(\d+)x(\d+)", name)
        if match is None:
            raise UnknownCase(f"output {name}")
        way, image, size = match[1], file.group("in")[match[2]], (int(match[3]), int(match[4]))
        found[f"out/{name}"] = np.asarray(_resized(way, image[None], size, dtype)[0])
        if not way.startswith("clean"):
            found[f"out/{name}"] = found[f"out/{name}"].transpose(2, 0, 1)
    return found


def _resized(way: str, image: np.ndarray, size: tuple[int, int], dtype):
    levels = jnp.asarray(image, dtype)
    ways = {"tf1": "tf1", "pytorch_bilinear": "torch", "clean_pil_bicubic": "clean", "clean_legacy_pytorch": "torch"}
    if way in ways:
        return resize.resize(levels, size, ways[way])
    if way == "tf1_aligncorners":
        return resize.along_both(
            levels, *(resize.aligned_matrix(*lengths) for lengths in zip(image.shape[1:3], size, strict=True))
        )
    kind, quantised = re.fullmatch(r"clean_pil_([a-z]+)(_q)?", way).groups()
    if kind not in resize.PILLOW_FILTERS:
        raise UnknownCase(f"filter {kind!r}")
    if quantised:
        return np.stack([PILImage.fromarray(one).resize(size[::-1], FILTERS[kind]) for one in image])
    matrices = (resize.pillow_matrix(*lengths, kind) for lengths in zip(image.shape[1:3], size, strict=True))
    return jnp.clip(resize.along_both(levels, *matrices), 0, 255)


HANDLERS = {
    ("inception", "block_"): run_block,
    ("inception", "inception_v3_full"): run_network,
    ("inception", "resize"): run_resize,
}
