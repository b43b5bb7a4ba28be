"""From what a release's file holds to one flat set of tensors: averaged or raw, without prefixes."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from score_jax.convert.correspondence import StateDict
from score_jax.errors import InputError, named, unknown_name

WEIGHTS = ("auto", "ema", "raw")
UNKNOWN = "unknown"
"""Name of weights that a file has alone and does not call averaged or raw."""
Named = tuple[StateDict, str]
"""Tensors, and which ones they are: "ema", "raw", or `UNKNOWN`."""
_WRAPPERS = ("state_dict", "model_state_dict", "model", "params")
_AVERAGED = ("ema", "params_ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "model_ema_state_dict")
_MAX_TENSORS = 2**17


def _children(node: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Entries of a dictionary; of a module what `state_dict` has of it: parameters, buffers, modules within."""
    parts = [node.get(part) for part in ("_parameters", "_buffers", "_modules")]
    if not any(isinstance(part, dict) for part in parts):
        yield from node.items()
        return
    passing = node.get("_non_persistent_buffers_set") or ()
    for part in parts:
        if isinstance(part, dict):
            yield from ((name, value) for name, value in part.items() if name not in passing)


def _flat(tree: Any, separator: str) -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries and modules; what is no array is left out.

    Raises:
      InputError: the tree, in which branches may be shared, has too many of them.
    """
    found: dict[str, np.ndarray] = {}
    waiting, seen = [("", tree)], 0
    while waiting:
        prefix, node = waiting.pop()
        seen += 1
        if seen > _MAX_TENSORS:
            raise InputError(f"The file holds more than {_MAX_TENSORS} tensors: expected those of one network.")
        if isinstance(node, np.ndarray):
            found[prefix] = node
        elif isinstance(node, dict):
            inner = [(f"{prefix}{separator}{key}" if prefix else str(key), value) for key, value in _children(node)]
            waiting.extend(reversed(inner))
    return found


def _bare_name(name: str) -> str:
    """Without what DataParallel puts before a name, and torch.compile before a part of it."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


def _is_optimizer(tree: Any) -> bool:
    return isinstance(tree, dict) and {"state", "param_groups"} <= tree.keys()


def _no_weights(tree: Any, otherwise: str) -> InputError:
    """The error for a file without weights where they are looked for."""
    inner = list(tree.values()) if isinstance(tree, dict) else list(tree) if isinstance(tree, list | tuple) else []
    inner += [part for parts in inner if isinstance(parts, list | tuple) for part in parts]
    if _is_optimizer(tree) or any(map(_is_optimizer, inner)):
        return InputError("The file holds the state of an optimizer, not weights: give the file of the model.")
    return InputError(otherwise)


def _tensors(tree: Any, what: str) -> dict[str, np.ndarray]:
    """A flat state dict, without the prefixes of wrappers.

    Raises:
      InputError: there are no tensors by name in it, or two of one name.
    """
    if isinstance(tree, dict) and any(isinstance(tree.get(part), dict) for part in ("_parameters", "_modules")):
        tree = _flat(tree, ".")
    if not isinstance(tree, dict) or not any(isinstance(value, np.ndarray) for value in tree.values()):
        raise _no_weights(tree, f"{what} holds no named tensors: check --from.")
    found: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, np.ndarray):
            name = _bare_name(str(key))
            if name in found:
                raise InputError(
                    f"{what} holds {named(name)} twice, under different prefixes: give a file with one set of weights."
                )
            found[name] = value
    if all(str(key).startswith("module.") or key == "n_averaged" for key in tree):
        found.pop("n_averaged", None)  # a count beside the weights in PyTorch's AveragedModel
    return found


def _has_tensors(tree: Any) -> bool:
    return isinstance(tree, dict) and any(isinstance(value, np.ndarray) for value in tree.values())


def _choose(weights: str, raw: Callable[[], StateDict], ema: Callable[[], StateDict] | None, alone: str) -> Named:
    """The weights that are wanted; `alone` is what raw ones are called where the file has no others and none says."""
    if weights == "ema" and ema is None:
        raise InputError("The file has no averaged weights: use --weights=raw, or auto.")
    if weights == "raw":
        return raw(), "raw"
    return (raw(), alone) if ema is None else (ema(), "ema")


def _as_said(weights: str) -> str:
    """What weights are called that a file has alone: as the user says."""
    return UNKNOWN if weights == "auto" else weights


def _plain(checkpoint: Any, weights: str) -> Named:
    """One state dict, which is what the file was published as; or a model's beside its average."""
    outer, alone = checkpoint, _as_said(weights)
    while isinstance(checkpoint, dict):
        inside = [checkpoint[wrapper] for wrapper in _WRAPPERS if isinstance(checkpoint.get(wrapper), dict)]
        if not inside:
            break
        outer, checkpoint = checkpoint, inside[0]
    beside = [outer[key] for key in _AVERAGED if isinstance(outer.get(key), dict)] if isinstance(outer, dict) else []
    averages = [tree for tree in beside if tree is not checkpoint and _flat(tree, ".")]
    if not averages:
        return _tensors(checkpoint, "The file"), alone
    if not _flat(checkpoint, "."):
        raise _no_weights(checkpoint, "The file holds no named tensors: check --from.")

    def ema() -> StateDict:
        return _tensors(averages[0], "The average in the file")

    return _choose(weights, lambda: _tensors(checkpoint, "The file"), ema, alone)


def _score_sde_pytorch(checkpoint: Any, weights: str) -> Named:
    """{model, ema, optimizer, step}: ema.shadow_params is a list in the order of the trained parameters."""
    if isinstance(checkpoint, dict) and "model" not in checkpoint and isinstance(checkpoint.get("state_dict"), dict):
        checkpoint = checkpoint["state_dict"]
    if _has_tensors(checkpoint) and "model" not in checkpoint:
        return _choose(weights, lambda: _tensors(checkpoint, "The file"), None, UNKNOWN)
    if not isinstance(checkpoint, dict) or "model" not in checkpoint:
        raise _no_weights(checkpoint, "The file has no 'model': expected a checkpoint of score_sde_pytorch.")
    raw = _tensors(checkpoint["model"], "'model'")
    averaged = checkpoint.get("ema")
    shadow = averaged.get("shadow_params") if isinstance(averaged, dict) else None
    if not isinstance(shadow, list | tuple):
        return _choose(weights, lambda: raw, None, "raw")

    def ema() -> StateDict:
        # Tables and frozen Fourier frequencies are not trained, and so not in the list.
        trained = [name for name in raw if not re.fullmatch(r"sigmas|all_modules\.0\.W", name)]
        shapes = [np.shape(tensor) for tensor in shadow]
        if shapes != [raw[name].shape for name in trained]:
            raise InputError(
                f"The {len(shapes)} averaged tensors do not fit the {len(trained)} trained ones: use --weights=raw."
            )
        return raw | dict(zip(trained, shadow, strict=True))

    return _choose(weights, lambda: raw, ema, "raw")


def _score_sde(checkpoint: Any, weights: str) -> Named:
    """Flax's State: optimizer.target and params_ema; or a bare tree of parameters."""
    if not isinstance(checkpoint, dict) or _is_optimizer(checkpoint):
        raise _no_weights(checkpoint, "The file holds no dictionary: expected a checkpoint of score_sde.")
    if "optimizer" not in checkpoint:
        bare = checkpoint.get("params", checkpoint)
        if not _flat(bare, "/"):
            raise _no_weights(checkpoint, "The file holds no parameters: expected a checkpoint of score_sde.")
        return _choose(weights, lambda: _flat(bare, "/"), None, UNKNOWN)
    optimizer, averaged = checkpoint["optimizer"], checkpoint.get("params_ema")
    target = optimizer.get("target") if isinstance(optimizer, dict) else None
    if not isinstance(target, dict):
        raise _no_weights(checkpoint, "The file has no optimizer/target: expected a checkpoint of score_sde.")
    ema = (lambda: _flat(averaged, "/")) if isinstance(averaged, dict) else None
    return _choose(weights, lambda: _flat(target, "/"), ema, "raw")


def _ncsn(checkpoint: Any, weights: str) -> Named:
    """[model, optimizer, ...]; NCSNv2 adds epoch, step and the averaged weights, whose names have no prefix."""
    if isinstance(checkpoint, dict):
        return _choose(weights, lambda: _plain(checkpoint, "auto")[0], None, UNKNOWN)
    if not isinstance(checkpoint, list | tuple) or not checkpoint:
        raise InputError("The file holds no list: expected a checkpoint of ncsn or ncsnv2.")
    raw = _tensors(checkpoint[0], "The first entry")
    averaged = checkpoint[4] if len(checkpoint) > 4 and isinstance(checkpoint[4], dict) else None

    def ema() -> StateDict:
        return raw | _tensors(averaged, "The fifth entry")

    return _choose(weights, lambda: raw, None if averaged is None else ema, "raw")


def _edm(checkpoint: Any, weights: str) -> Named:
    """{ema: network}: nested modules, each with its parameters and buffers."""
    if _has_tensors(checkpoint):
        return _tensors(checkpoint, "The file"), _as_said(weights)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("ema"), dict):
        raise _no_weights(checkpoint, "The file has no network 'ema': expected a pickle of NVlabs/edm.")
    if weights == "raw":
        raise InputError("The file has only averaged weights: use --weights=ema, or auto.")
    return _tensors(checkpoint["ema"], "The network 'ema'"), "ema"


_RELEASES: dict[str, Callable[[Any, str], Named]] = {
    "score_sde_pytorch": _score_sde_pytorch,
    "score_sde": _score_sde,
    "ddpm": _plain,
    "improved_diffusion": _plain,
    "guided_diffusion": _plain,
    "latent_diffusion": _plain,
    "karlo": _plain,
    "ncsn": _ncsn,
    "ncsnv2": _ncsn,
    "edm": _edm,
}


def named_weights(release: str, checkpoint: Any, weights: str = "auto") -> Named:
    """One set of weights from a checkpoint, and which one it is.

    Args:
      release: whose checkpoint it is.
      checkpoint: what `read_checkpoint` found in the file.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them. Of releases that publish averaged and
        raw weights as files of their own, a file has what it has, and is called what is asked for.

    Raises:
      InputError: the release is unknown, the file is not of it, or it has no such weights.
    """
    if release not in _RELEASES:
        raise unknown_name("release", release, _RELEASES)
    if weights not in WEIGHTS:
        raise unknown_name("choice of weights", weights, WEIGHTS)
    return _RELEASES[release](checkpoint, weights)


def state_dict(release: str, checkpoint: Any, weights: str = "auto") -> StateDict:
    """The tensors of `named_weights` alone.

    Raises:
      InputError: see `named_weights`.
    """
    return named_weights(release, checkpoint, weights)[0]
