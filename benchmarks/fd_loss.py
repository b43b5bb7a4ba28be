"""Are the features of FD-loss those that timm's networks give?

    python -m venv peer && peer/bin/pip install torch==2.13.0 torchvision timm transformers safetensors
    python benchmarks/fd_loss.py --peer_python=peer/bin/python [--json] [--quick] [--write=FOLDER]

Random weights, written by timm and read here as published files are, or written here in the names of the authors' codes
and read by timm. Features are of bytes of 256 x 256 pixels, as the authors' evaluation computes them, but in float32.
`--quick` runs tiny networks alone, not those of the published sizes. --write makes the parity files anew.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import parity_file
from peer import Peer, peer_of
from safetensors.numpy import save_file

from report import Claim, emit
from score_jax.convert import clip, dinov2
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.evaluation.dinov2 import dinov2_extractor
from score_jax.evaluation.fd_loss import clip_token_extractor, convnext_extractor, vit_extractor
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.models.clip.clip import CLIP, TextTransformer
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.models.scorers.convnext import ConvNeXtV2
from score_jax.models.scorers.dinov2 import DINOv2
from score_jax.models.scorers.dinov2 import dinov2 as published_dinov2
from score_jax.models.scorers.vit import ViT

LIMIT = 1e-5
IMAGES = 2
_TINY_VIT = {"embed_dim": 128, "depth": 2, "num_heads": 2}
_TEXT = TextTransformer(vocabulary=16, context=4, width=64, layers=1, heads=1, features=32)


class Network(NamedTuple):
    """One of the five.

    Attributes:
      timm: its name there, as the authors load it.
      tiny: options of a small one.
      load: of a file.
      extractor: of what was loaded, under a protocol.
      state: weights in the authors' names, of the small one or of the whole; None: timm writes them.
    """

    timm: str
    tiny: dict[str, Any]
    load: Callable[[Path], Any]
    extractor: Callable[..., Any]
    state: Callable[[bool], dict[str, np.ndarray]] | None = None


def _of_clip(tiny: bool) -> dict[str, np.ndarray]:
    """OpenAI's names."""
    size = {"width": 128, "layers": 2, "heads": 2} if tiny else {"width": 1024, "layers": 24, "heads": 16}
    return clip.random_state(0, CLIP(VisionTransformer(224, 14, features=32, **size), _TEXT))


def _of_dinov2(tiny: bool) -> dict[str, np.ndarray]:
    """The hub's names."""
    module = DINOv2(518, width=128, layers=2, heads=2) if tiny else published_dinov2("vitl14")
    return dinov2.random_state(0, module)


NETWORKS = {
    "convnext": Network(
        "convnextv2_base.fcmae_ft_in22k_in1k",
        {"dims": (16, 24, 32, 48), "depths": (1, 2, 1, 1)},
        CONVNEXT.load,
        convnext_extractor,
    ),
    "dinov2": Network("vit_large_patch14_dinov2.lvd142m", _TINY_VIT, dinov2.load_dinov2, dinov2_extractor, _of_dinov2),
    "mae": Network("vit_large_patch16_224.mae", _TINY_VIT, MAE.load, vit_extractor),
    "siglip": Network("vit_so400m_patch16_siglip_256.v2_webli", _TINY_VIT, SIGLIP2.load, vit_extractor),
    "clip": Network(
        "vit_large_patch14_clip_224.openai", _TINY_VIT, clip.load_clip_vision, clip_token_extractor, _of_clip
    ),
}


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def network_claim(peer: Peer, folder: Path, name: str, images: np.ndarray, *, tiny: bool) -> Claim:
    """From bytes to features."""
    network, protocol = NETWORKS[name], PROTOCOLS[f"fd_loss_{name}"]
    weights, options = folder / "weights.safetensors", network.tiny if tiny else {}
    if network.state is None:
        versions = peer.ask("make", name=network.timm, options=options, seed=len(name), out=str(weights))
    else:
        save_file(network.state(tiny), weights)
        versions = peer.ask("read", name=network.timm, options=options, weights=str(weights))
    np.savez(folder / "images.npz", images=images)
    peer.ask("features", images=str(folder / "images.npz"), size=protocol.size, out=str(folder / "found.npz"))
    extractor = network.extractor(network.load(weights), protocol)
    ours = jax.jit(lambda params, x: extractor.apply(params, extractor.prepare(x))["features"])
    found = np.asarray(ours(extractor.params, jnp.asarray(images)))
    side = images.shape[1]
    how = f"{extractor.name}, {side} x {side} bytes seen at {protocol.size}; timm {versions['timm']}"
    title = f"{name}_tiny_{side}" if tiny else name
    error = apart(found, np.load(folder / "found.npz")["features"])
    return Claim(title, error, "of the largest", LIMIT, "<=", f"{how}, torch {versions['torch']}")


def authors_names_claim(peer: Peer, folder: Path, images: np.ndarray) -> Claim:
    """ConvNeXt V2 in its authors' names, read here and by timm."""
    options = NETWORKS["convnext"].tiny
    peer.ask("make", name=NETWORKS["convnext"].timm, options=options, seed=3, out=str(folder / "timm.safetensors"))
    scorer = CONVNEXT.load(folder / "timm.safetensors")
    theirs = authors_names(CONVNEXT.random_state(5, scorer.module))
    save_file(theirs, folder / "theirs.safetensors")
    peer.ask("read", name=NETWORKS["convnext"].timm, options=options, weights=str(folder / "theirs.safetensors"))
    np.savez(folder / "images.npz", images=images)
    peer.ask("features", images=str(folder / "images.npz"), size=224, out=str(folder / "found.npz"))
    extractor = convnext_extractor(CONVNEXT.load(folder / "theirs.safetensors"), PROTOCOLS["fd_loss_convnext"])
    found = np.asarray(extractor.apply(extractor.params, extractor.prepare(jnp.asarray(images)))["features"])
    error = apart(found, np.load(folder / "found.npz")["features"])
    return Claim("convnext_authors_names", error, "of the largest", LIMIT, "<=", "a file as facebookresearch names it")


def authors_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """timm's names of ConvNeXt V2 as the authors have them."""
    found = {}
    for name, tensor in state.items():
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        if ".grn." in name:
            name = name.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            tensor = tensor[None, None, None]
        elif ".downsample." in name:
            _, stage, _, rest = name.split(".", 3)
            name = f"downsample_layers.{stage}.{rest}"
        found[name.replace("stem.", "downsample_layers.0.")] = np.ascontiguousarray(tensor)
    return found


def write(peer: Peer, folder: Path, out: Path) -> None:
    """A parity file of each network, see tests/parity/files/README.md: weights of few levels, which pack well."""
    images = np.random.default_rng(1).integers(0, 8, (IMAGES, 16, 20, 3), np.uint8) * 36
    np.savez(folder / "images.npz", images=images)
    single = {"embed_dim": 64, "depth": 1, "num_heads": 1}
    for name, (options, state) in {
        "convnext": (
            {"dims": (8, 8, 12, 16), "depths": (1, 1, 2, 1)},
            CONVNEXT.random_state(1, ConvNeXtV2((8, 8, 12, 16), (1, 1, 2, 1))),
        ),
        "mae": (single, MAE.random_state(2, ViT(224, 64, 1, 1, 256))),
        "siglip": (single, SIGLIP2.random_state(3, ViT(256, 64, 1, 1, 239, pooled=True))),
        "clip": (single, clip.random_state(4, CLIP(VisionTransformer(224, 14, 64, 1, 1, 32), _TEXT))),
        "dinov2": (single, dinov2.random_state(5, DINOv2(518, 64, 1, 1))),
    }.items():
        state = {key: _of_few_levels(tensor) for key, tensor in state.items()}
        save_file(state, folder / "weights.safetensors")
        network = NETWORKS[name].timm
        versions = peer.ask("read", name=network, options=options, weights=str(folder / "weights.safetensors"))
        arrays: dict[str, Any] = {f"params/{key}": tensor for key, tensor in state.items()} | {"in/images": images}
        for kind, double in (("out", False), ("out64", True)):
            size = PROTOCOLS[f"fd_loss_{name}"].size
            request = {"images": str(folder / "images.npz"), "size": size, "out": str(folder / "found.npz")}
            peer.ask("features", double=double, **request)
            arrays[f"{kind}/features"] = np.load(folder / "found.npz")["features"]
        source = {"repo": "huggingface/pytorch-image-models", "commit": f"PyPI timm {versions['timm']}"}
        config = {"network": name, "timm": network}
        how = "out64: position embeddings are resized in float64 too, which timm does in float32 always"
        parity_file.save(
            out / f"{name}.npz",
            "fd_loss",
            "features",
            arrays,
            source=source,
            config=config,
            how=how,
            limit=LIMIT,
            versions=versions,
        )


def _of_few_levels(tensor: np.ndarray) -> np.ndarray:
    """Multiples of a quarter of a power of two near the standard deviation."""
    level = np.float32(2.0 ** np.floor(np.log2(tensor.std() or 1)) / 4)
    return np.asarray(np.round(tensor / level) * level, np.float32)


def siglip_claim(peer: Peer, folder: Path) -> Claim:
    """transformers' SigLIP, at the size of its position embeddings."""
    images = np.random.default_rng(4).normal(size=(IMAGES, 3, 64, 64)).astype(np.float32)
    np.savez(folder / "images.npz", images=images)
    options = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 200}
    options |= {"image_size": 64, "patch_size": 16}
    weights, out = folder / "siglip.safetensors", folder / "found.npz"
    versions = peer.ask(
        "siglip", options=options, seed=7, images=str(folder / "images.npz"), weights=str(weights), out=str(out)
    )
    scorer = SIGLIP2.load(weights)
    found = np.asarray(scorer.module.apply({"params": scorer.params}, jnp.asarray(images.transpose(0, 2, 3, 1))))
    how = f"transformers {versions['transformers']}, its own names of tensors"
    return Claim("siglip_transformers", apart(found, np.load(out)["features"]), "of the largest", LIMIT, "<=", how)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="tiny networks alone")
    parser.add_argument("--write", type=Path, help="a folder for the parity files")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with timm and transformers")
    arguments = parser.parse_args()
    began, rng = time.monotonic(), np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 256, 256, 3), np.uint8)
    claims = []
    jax.config.update("jax_default_matmul_precision", "highest")
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, "fd_loss_peer.py") as peer:
        if arguments.write is not None:
            arguments.write.mkdir(parents=True, exist_ok=True)
            write(peer, Path(name), arguments.write)
        for network in NETWORKS:
            for shown in (images, images[:, :64, :64]):
                claims.append(network_claim(peer, Path(name), network, shown, tiny=True))
        claims += [authors_names_claim(peer, Path(name), images), siglip_claim(peer, Path(name))]
        if not arguments.quick:
            claims += [network_claim(peer, Path(name), network, images, tiny=False) for network in NETWORKS]
    return emit("fd_loss", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
