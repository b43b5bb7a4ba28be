"""The other side of `fd_dinov2.py`: DINOv2 of facebookresearch and of transformers, in a Python of their own.

Run by `fd_dinov2.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

from typing import Any

import dinov2.models.vision_transformer as hub
import numpy as np
import PIL
import torch
import transformers
from answering import answer
from double_interpolation import interpolated_in_double
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 224
VERSIONS = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "dinov2": "0.0.1.dev2",
    "pillow": PIL.__version__,
}


def _model(code: str, options: dict[str, Any]) -> torch.nn.Module:
    """Of the hub's class, or of one of transformers'."""
    size, width, layers, heads = (options[key] for key in ("image_size", "width", "layers", "heads"))
    gated, registers = options.get("swiglu", False), options.get("registers", 0)
    if code == "hub":
        return hub.DinoVisionTransformer(
            img_size=size,
            patch_size=14,
            embed_dim=width,
            depth=layers,
            num_heads=heads,
            init_values=1.0,
            block_chunks=0,
            ffn_layer="swiglufused" if gated else "mlp",
        )
    common = {
        "image_size": size,
        "patch_size": 14,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "use_swiglu_ffn": gated,
    }
    if not registers:
        return transformers.Dinov2Model(transformers.Dinov2Config(**common))
    config = transformers.Dinov2WithRegistersConfig(num_register_tokens=registers, **common)
    return transformers.Dinov2WithRegistersModel(config)


def _randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that make every tensor matter: tokens, biases and scales too."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim in (2, 4) and "token" not in name:
            noise = noise / parameter[0].numel() ** 0.5
        elif parameter.ndim == 1:
            noise = 0.2 * noise + name.endswith(("weight", "gamma", "lambda1"))
        parameter.data = noise


class Peer:
    """One model at a time."""

    def make(self, code: str, options: dict[str, Any], seed: int, out: str) -> dict:
        """Makes a random model; its weights go into `out`, a .pth of the hub or a folder of transformers."""
        self.code, self.model = code, _model(code, options).eval()
        _randomise(self.model, seed)
        if code == "hub":
            torch.save(self.model.state_dict(), out)
        else:
            self.model.save_pretrained(out)
        return VERSIONS

    def outputs(self, images: str, out: str, double: bool = False) -> dict:
        """All tokens of images {name: (b, 3, h, w)} after the last norm, and the features, by the images' names."""
        found, model = {}, self.model.double() if double else self.model.float()
        with torch.no_grad(), interpolated_in_double(double):
            for name, image in np.load(images).items():
                x = torch.tensor(image).double() if double else torch.tensor(image).float()
                if self.code == "hub":
                    tokens = model.forward_features(x)
                    found[f"features_{name}"] = model(x)
                    joined = [tokens["x_norm_clstoken"][:, None], tokens["x_norm_patchtokens"]]
                    found[f"tokens_{name}"] = torch.cat(joined, dim=1)
                else:
                    output = model(x)
                    found[f"features_{name}"], found[f"tokens_{name}"] = output.pooler_output, output.last_hidden_state
        np.savez(out, **{name: tensor.numpy() for name, tensor in found.items()})
        return {}

    def inputs(self, images: str, out: str, double: bool = False, size: int = SIZE) -> dict:
        """What edm2's and dgm-eval's ways make of images {name: (h, w, 3)} of bytes: (size, size, 3), normalised."""
        found = {}
        mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (MEAN, STD))
        for name, image in np.load(images).items():
            x = torch.tensor(image).permute(2, 0, 1)[None].to(torch.float64 if double else torch.float32)
            resized = torch.nn.functional.interpolate(x, size=(size, size), mode="bicubic", antialias=True)[0]
            small = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
            for way, levels in (("edm2", resized), ("dgm_eval", torch.tensor(np.asarray(small)).permute(2, 0, 1))):
                normalised = (levels.double() / 255 - mean) / std
                found[f"{way}_{name}"] = normalised.permute(1, 2, 0).numpy()
        np.savez(out, **found)
        return {}

    def count(self, options: dict[str, Any]) -> dict:
        """Parameters of transformers' network, of which none is made."""
        with torch.device("meta"):
            model = _model("transformers", options)
        return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    answer(Peer())
