"""The other side of `feature_metrics.py`: the evaluators as published, in a Python of their own.

Run by `feature_metrics.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import scipy.stats
import torch
import transformers
from answering import answer

# torchvision's own operators are compiled for one build of torch, and none of them is needed here.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
torchvision = importlib.import_module("torchvision")
torch_fidelity = importlib.import_module("torch_fidelity")
vgg16 = importlib.import_module("torch_fidelity.feature_extractor_vgg16")
metric_mind = importlib.import_module("torch_fidelity.metric_mind")
metric_prc = importlib.import_module("torch_fidelity.metric_prc")
# By their folder: dgm-eval's package imports all of its encoders. cmmd-pytorch is no package.
sys.path += [str(Path(sys.argv[1]) / "dgm_eval" / "metrics"), sys.argv[2]]
embedding, io_util, distance = (importlib.import_module(name) for name in ("embedding", "io_util", "distance"))
authpct, ct = (importlib.import_module(name) for name in ("authpct", "ct"))
# Its columns of distances were numbers to older releases of NumPy.
ct.mannwhitneyu = lambda x, y, alternative: scipy.stats.mannwhitneyu(x.ravel(), y.ravel(), alternative=alternative)

VERSIONS = {"torch": torch.__version__, "torchvision": torchvision.__version__}


def _vgg16(widths: list[int] | None = None, hidden: int = 4096) -> torch.nn.Module:
    """torchvision's, or one of other widths with its modules under its names."""
    if widths is None:
        return torchvision.models.vgg16()
    ends, layers = (1, 3, 6, 9, 12), []
    for i, width in enumerate(widths):
        layers += [width, "M"] if i in ends else [width]
    model = torchvision.models.VGG(torchvision.models.vgg.make_layers(layers), num_classes=3)
    model.classifier[0] = torch.nn.Linear(7 * 7 * widths[-1], hidden)
    model.classifier[3] = torch.nn.Linear(hidden, hidden)
    model.classifier[6] = torch.nn.Linear(hidden, 3)
    return model


def _randomise(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.1 * noise if noise.ndim == 1 else noise * (2 / noise[0].numel()) ** 0.5


class Peer:
    """One network at a time."""

    def make_vgg16(self, seed: int, out: str, widths: list[int] | None = None, hidden: int = 4096) -> dict:
        """Random weights, into a file as torchvision publishes it."""
        model = _vgg16(widths, hidden)
        _randomise(model, seed)
        torch.save(model.state_dict(), out)
        self._vgg = (widths, hidden), out
        return VERSIONS

    def vgg16(self, images: str, out: str, double: bool = False) -> dict:
        """torch-fidelity's features of images {name: (h, w, 3)} of bytes, by their names."""
        sizes, weights = self._vgg
        original = vgg16.torchvision.models.vgg16
        vgg16.torchvision.models.vgg16 = original if sizes[0] is None else lambda: _vgg16(*sizes)
        extractor = vgg16.FeatureExtractorVGG16(
            "vgg16",
            ["fc2_relu"],
            feature_extractor_weights_path=weights,
            feature_extractor_internal_dtype="float64" if double else "float32",
        )
        vgg16.torchvision.models.vgg16 = original
        found = {}
        with torch.no_grad():
            for name, image in np.load(images).items():
                x = torch.tensor(image).permute(2, 0, 1)[None]
                found[name] = extractor(x)[0][0].numpy()
        np.savez(out, **found)
        return {}

    def whole(self, generated: str, real: str) -> dict:
        """The rates of two folders of images, as torch-fidelity's users ask for them."""
        return torch_fidelity.calculate_metrics(
            input1=generated,
            input2=real,
            prc=True,
            cuda=False,
            cache=False,
            verbose=False,
            batch_size=20,
            feature_extractor_weights_path=self._vgg[1],
        )

    def prc(self, sets: str) -> dict:
        """Precision, recall and F-score of two sets of features."""
        given = np.load(sets)
        return metric_prc.prc_features_to_metric(
            *(torch.tensor(given[name]) for name in ("generated", "real")), prc_neighborhood=3, verbose=False
        )

    def mind(self, sets: str, out: str, directions: int) -> dict:
        """MIND of two sets of as many features; its directions into a file, drawn from its seed as it draws them."""
        given = np.load(sets)
        rows = [torch.tensor(given[name]) for name in ("generated", "real")]
        generator = torch.Generator().manual_seed(2020)
        drawn = torch.randn(directions, rows[0].shape[1], generator=generator)
        np.save(out, (drawn / drawn.norm(dim=1, keepdim=True)).numpy())
        found = metric_mind.mind_features_to_metric(
            *rows, mind_num_projections=directions, rng_seed=2020, cuda=False, verbose=False
        )
        return {"mind": found["monge_inception_distance"]}

    def memorisation(self, sets: str) -> dict:
        """Authenticity and C_T of three sets of features, with cells of its own."""
        given = np.load(sets)
        training, held_out, generated = (given[name] for name in ("training", "held_out", "generated"))
        share = authpct.compute_authpct(training, generated) / 100
        return {"authenticity": share, "c_t": float(np.squeeze(ct.compute_CTscore(training, held_out, generated)))}

    def make_clip(self, seed: int, out: str) -> dict:
        """ViT-L/14 at 336 pixels with random weights, and a tower of texts of one small block; into a folder."""
        vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 1}
        vision |= {"image_size": 336, "patch_size": 14, "projection_dim": 768}
        config = transformers.CLIPConfig(
            text_config=text | {"projection_dim": 768}, vision_config=vision, projection_dim=768
        )
        model = transformers.CLIPModel(config).eval()
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if noise.ndim < 2:
                parameter.data = 0.1 * noise + (name.endswith("weight") or name == "logit_scale")
            else:
                parameter.data = noise / noise[0].numel() ** 0.5
        model.save_pretrained(out)
        self._clip = object.__new__(embedding.ClipEmbeddingModel)
        self._clip.image_processor = transformers.CLIPImageProcessor()
        self._clip._model = transformers.CLIPVisionModelWithProjection.from_pretrained(out).eval()
        self._clip.input_image_size = config.vision_config.image_size
        return {}

    def clip(self, images: dict[str, str], out: str) -> dict:
        """cmmd-pytorch's embeddings of files of images, by their names."""
        files = io_util.CMMDDataset(path="", reshape_to=self._clip.input_image_size)
        found = {}
        for name, path in images.items():
            image = files._read_image(path, files.reshape_to)[None] / 255.0
            found[name] = self._clip.embed(image)[0].numpy()
        np.savez(out, **found)
        return {}

    def cmmd(self, sets: str) -> dict:
        """cmmd-pytorch's distance, by precision."""
        given = np.load(sets)
        return {
            precision: float(distance.mmd(*(given[name].astype(precision) for name in ("generated", "real"))))
            for precision in ("float32", "float64")
        }


if __name__ == "__main__":
    answer(Peer())
