"""From what a release's file holds to one flat set of tensors: averaged or raw, without prefixes."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from score_jax.convert.correspondence import StateDict
from score_jax.errors import InputError, unknown_name

WEIGHTS = ("auto", "ema", "raw")


def _flat(tree: Any, separator: str, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries; what is no array is left out."""
    if isinstance(tree, np.ndarray):
        return {prefix: tree}
    found: dict[str, np.ndarray] = {}
    for key, value in tree.items() if isinstance(tree, dict) else ():
        found |= _flat(value, separator, f"{prefix}{separator}{key}" if prefix else str(key))
    return found


def _tensors(tree: Any, what: str) -> dict[str, np.ndarray]:
    """A flat state dict, without DataParallel's prefix.

    Raises:
      InputError: there are no tensors by name in it.
    """
    if not isinstance(tree, dict) or not any(isinstance(value, np.ndarray) for value in tree.values()):
        raise InputError(f"{what} holds no tensors by name: check --from.")
    return {key.removeprefix("module."): value for key, value in tree.items() if isinstance(value, np.ndarray)}


def _is_plain(checkpoint: Any) -> bool:
    return isinstance(checkpoint, dict) and all(isinstance(value, np.ndarray) for value in checkpoint.values())


def _choose(weights: str, raw: Callable[[], StateDict], ema: Callable[[], StateDict] | None) -> StateDict:
    if weights == "ema" and ema is None:
        raise InputError("The file has no averaged weights: use --weights=raw, or auto.")
    return raw() if weights == "raw" or ema is None else ema()


def _plain(checkpoint: Any, weights: str) -> StateDict:
    """One state dict; which weights it has is what the file was published as."""
    for wrapper in ("state_dict", "model"):
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
    return _tensors(checkpoint, "The file")


def _score_sde_pytorch(checkpoint: Any, weights: str) -> StateDict:
    """{model, ema, optimizer, step}: ema.shadow_params is a list in the order of the trained parameters."""
    if _is_plain(checkpoint):
        return _choose(weights, lambda: _tensors(checkpoint, "The file"), None)
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise InputError("The file has no 'model': expected a checkpoint of score_sde_pytorch.")
    raw = _tensors(checkpoint["model"], "'model'")
    averaged = checkpoint.get("ema")
    shadow = averaged.get("shadow_params") if isinstance(averaged, dict) else None
    if not isinstance(shadow, list | tuple):
        return _choose(weights, lambda: raw, None)

    def ema() -> StateDict:
        # Tables and frozen Fourier frequencies are not trained, and so not in the list.
        trained = [name for name in raw if not re.fullmatch(r"sigmas|all_modules\.0\.W", name)]
        shapes = [np.shape(tensor) for tensor in shadow]
        if shapes != [raw[name].shape for name in trained]:
            raise InputError(
                f"The {len(shapes)} averaged tensors do not fit the {len(trained)} trained ones: use --weights=raw."
            )
        return raw | dict(zip(trained, shadow, strict=True))

    return _choose(weights, lambda: raw, ema)


def _score_sde(checkpoint: Any, weights: str) -> StateDict:
    """Flax's State: optimizer.target and params_ema; or a bare tree of parameters."""
    if not isinstance(checkpoint, dict):
        raise InputError("The file holds no dictionary: expected a checkpoint of score_sde.")
    if "optimizer" not in checkpoint:
        bare = checkpoint.get("params", checkpoint)
        return _choose(weights, lambda: _flat(bare, "/"), None)
    optimizer, averaged = checkpoint["optimizer"], checkpoint.get("params_ema")
    target = optimizer.get("target") if isinstance(optimizer, dict) else None
    if not isinstance(target, dict):
        raise InputError("The file has no optimizer/target: expected a checkpoint of score_sde.")
    return _choose(
        weights, lambda: _flat(target, "/"), (lambda: _flat(averaged, "/")) if isinstance(averaged, dict) else None
    )


def _ncsn(checkpoint: Any, weights: str) -> StateDict:
    """[model, optimizer, ...]; NCSNv2 adds epoch, step and the averaged weights, whose names have no prefix."""
    if isinstance(checkpoint, dict):
        return _choose(weights, lambda: _plain(checkpoint, weights), None)
    if not isinstance(checkpoint, list | tuple) or not checkpoint:
        raise InputError("The file holds no list: expected a checkpoint of ncsn or ncsnv2.")
    raw = _tensors(checkpoint[0], "The first entry")
    averaged = checkpoint[4] if len(checkpoint) > 4 and isinstance(checkpoint[4], dict) else None

    def ema() -> StateDict:
        return raw | _tensors(averaged, "The fifth entry")

    return _choose(weights, lambda: raw, None if averaged is None else ema)


def _edm(checkpoint: Any, weights: str) -> StateDict:
    """{ema: network}: nested modules, each with its parameters and buffers."""
    if _is_plain(checkpoint):
        return _tensors(checkpoint, "The file")
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("ema"), dict):
        raise InputError("The file has no network 'ema': expected a pickle of NVlabs/edm.")
    network = checkpoint["ema"]
    if weights == "raw":
        raise InputError("The file has averaged weights alone: use --weights=ema, or auto.")
    return _tensors(_flat(_module(network), "."), "The network 'ema'")


def _module(state: dict[str, Any]) -> dict[str, Any]:
    """A module's tensors by name, as `state_dict` nests them."""
    tensors = {**state.get("_parameters", {}), **state.get("_buffers", {})}
    modules = {name: _module(child) for name, child in state.get("_modules", {}).items() if isinstance(child, dict)}
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, np.ndarray)} | modules


_RELEASES: dict[str, Callable[[Any, str], StateDict]] = {
    "score_sde_pytorch": _score_sde_pytorch,
    "score_sde": _score_sde,
    "ddpm": _plain,
    "improved_diffusion": _plain,
    "guided_diffusion": _plain,
    "ncsn": _ncsn,
    "ncsnv2": _ncsn,
    "edm": _edm,
}


def state_dict(release: str, checkpoint: Any, weights: str = "auto") -> StateDict:
    """One set of weights from a checkpoint.

    Args:
      release: whose checkpoint it is.
      checkpoint: what `read_checkpoint` found in the file.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them. Of releases that publish averaged and
        raw weights as files of their own, a file has what it has.

    Raises:
      InputError: the release is unknown, the file is not of it, or it has no such weights.
    """
    if release not in _RELEASES:
        raise unknown_name("release", release, _RELEASES)
    if weights not in WEIGHTS:
        raise unknown_name("choice of weights", weights, WEIGHTS)
    return _RELEASES[release](checkpoint, weights)
