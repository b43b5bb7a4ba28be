"""The other side of `fd_loss.py`: timm's networks and transformers' SigLIP, in a Python of their own.

Run by `fd_loss.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import importlib
import sys
import types
from typing import Any

import numpy as np
import torch
import transformers
from answering import answer
from double_interpolation import interpolated_in_double
from safetensors.torch import load_file, save_file

# torchvision's own operators are compiled for one build of torch, and none of them is needed here.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
timm = importlib.import_module("timm")
vision_transformer, convnext = (importlib.import_module(f"timm.models.{n}") for n in ("vision_transformer", "convnext"))

VERSIONS = {"torch": torch.__version__, "timm": timm.__version__, "transformers": transformers.__version__}


def _model(name: str, options: dict[str, Any]) -> torch.nn.Module:
    """timm's network of that name; a transformer takes images of any size."""
    sizes = {} if name.startswith("convnext") else {"dynamic_img_size": True, "dynamic_img_pad": True}
    return timm.create_model(name, pretrained=False, num_classes=0, **sizes, **options).eval()


def _randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that make every tensor matter: tokens, biases and scales too."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim in (2, 4):
            noise = noise / parameter[0].numel() ** 0.5
        elif parameter.ndim == 1:
            noise = 0.2 * noise + (name.endswith("weight") and "norm" in name)
        parameter.data = noise


class Peer:
    """Answers requests by the names of its methods."""

    def __init__(self) -> None:
        self._model: Any = None

    def make(self, name: str, options: dict[str, Any], seed: int, out: str) -> dict:
        """A network of random weights, written under timm's names."""
        self._model = _model(name, options)
        _randomise(self._model, seed)
        save_file({key: tensor.contiguous() for key, tensor in self._model.state_dict().items()}, out)
        return VERSIONS

    def read(self, name: str, options: dict[str, Any], weights: str) -> dict:
        """A network of weights under the names of its authors' code, read as timm reads them."""
        self._model = _model(name, options)
        code = convnext if name.startswith("convnext") else vision_transformer
        state = code.checkpoint_filter_fn(load_file(weights), self._model)
        missing, unknown = self._model.load_state_dict(state, strict=False)
        needed = [key for key in missing if not key.startswith("head.norm")]
        assert not needed and all(key.startswith("head") for key in unknown), (missing, unknown)
        return VERSIONS

    def features(self, images: str, size: int, out: str, double: bool = False) -> dict:
        """Of bytes (n, h, w, 3): what FD-loss takes of a network that sees them at a size, bicubic with antialias."""
        dtype = torch.float64 if double else torch.float32
        self._model.to(dtype)
        x = torch.tensor(np.load(images)["images"]).permute(0, 3, 1, 2).to(dtype) / 255
        if x.shape[-1] != size or x.shape[-2] != size:
            x = torch.nn.functional.interpolate(x, size=(size, size), mode="bicubic", antialias=True)
        known = self._model.pretrained_cfg
        mean, std = (torch.tensor(known[key], dtype=dtype)[None, :, None, None] for key in ("mean", "std"))
        with interpolated_in_double(double):
            found = self._model.forward_features((x - mean) / std)
        if found.ndim == 4:
            found = found.mean((2, 3))
        elif self._model.num_prefix_tokens:
            found = found[:, 0]
        else:
            found = self._model.attn_pool(found)
        np.savez(out, features=found.numpy())
        return {}

    def siglip(self, options: dict[str, Any], seed: int, images: str, weights: str, out: str) -> dict:
        """transformers' tower of images, of random weights: its features of images (n, 3, h, w)."""
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**options)).eval()
        _randomise(model, seed)
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        prefix = "" if any(key.startswith("vision_model.") for key in state) else "vision_model."  # as the whole has it
        save_file({f"{prefix}{key}": tensor for key, tensor in state.items()}, weights)
        np.savez(out, features=model(torch.tensor(np.load(images)["images"])).pooler_output.numpy())
        return VERSIONS


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    with torch.no_grad():
        answer(Peer())
