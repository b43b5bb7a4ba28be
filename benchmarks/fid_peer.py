"""The other side of `fid.py`: torch-fidelity and pytorch-fid as published, in a Python of their own.

Run by `fid.py`; reads one JSON request a line and answers with one. Imports nothing of this library.
"""

import importlib.machinery
import sys
import time
from unittest.mock import MagicMock

import numpy as np
from answering import answer


def _without_torchvision() -> None:
    """Neither evaluator's Inception needs it, but both import it."""
    for part in ("", ".datasets", ".models", ".models.inception", ".transforms", ".transforms.functional"):
        name = f"torchvision{part}"
        spec = importlib.machinery.ModuleSpec(name, None)
        sys.modules.setdefault(name, MagicMock(__spec__=spec, __path__=[], __name__=name))


class Peer:
    """What is asked for, by name."""

    def __init__(self):
        import torch

        torch.set_num_threads(2)
        self._torch, self._extractor, self._images = torch, None, None

    def load(self, weights: str, images: str) -> dict:
        """torch-fidelity's network and the images."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        state = {name: self._torch.from_numpy(array) for name, array in np.load(weights).items()}
        self._torch.save(state, weights + ".pth")
        self._extractor = FeatureExtractorInceptionV3("inception", ["2048"], weights + ".pth")
        self._extractor.eval()
        self._images = self._torch.from_numpy(np.load(images).transpose(0, 3, 1, 2).copy())
        return {}

    def features(self, out: str) -> dict:
        """pool3 of all images, in one batch."""
        began = time.perf_counter()
        with self._torch.no_grad():
            found = self._extractor(self._images)[0].numpy()
        seconds = time.perf_counter() - began
        np.save(out, found)
        return {"seconds": seconds}

    def pytorch_fid(self, one: str, other: str) -> dict:
        """Statistics by np.cov, distance by a matrix root."""
        from pytorch_fid.fid_score import calculate_frechet_distance

        sets = [np.load(path) for path in (one, other)]
        began = time.perf_counter()
        statistics = [(x.mean(axis=0, dtype=np.float64), np.cov(x, rowvar=False)) for x in sets]
        value = float(calculate_frechet_distance(*statistics[0], *statistics[1]))
        return {"seconds": time.perf_counter() - began, "value": value}

    def torch_fidelity(self, one: str, other: str) -> dict:
        """Its own statistics and distance."""
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        sets = [self._torch.from_numpy(np.load(path)) for path in (one, other)]
        began = time.perf_counter()
        statistics = [fid_features_to_statistics(x) for x in sets]
        value = float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])
        return {"seconds": time.perf_counter() - began, "value": value}


def main() -> None:
    """Answers until the input ends."""
    _without_torchvision()
    answer(Peer())


if __name__ == "__main__":
    main()
