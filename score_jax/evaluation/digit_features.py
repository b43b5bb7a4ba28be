"""The embedded features: a small classifier, trained here on the labels of the training split.

Its metrics are called `fid_digits` and `kid_digits`, of data that are no digits `fid_classes` and `kid_classes`. They
compare models of one data set with each other; they are no substitute for FID with Inception features and are never
called so.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.models.classifiers.digit_classifier import DigitClassifier
from score_jax.runtime.array_files import read_arrays
from score_jax.runtime.files import written_whole
from score_jax.typing import KeyArray, Params

_BATCH = 128
_RATES = (2e-3, 5e-4, 1e-4)
"""Learning rates: the first under which the units of the hidden layer live on, which on large images they may not."""
_ALIVE = 8
"""Features that must differ between images."""
_LAYERS = {"patches", "halve_0", "norm_0", "halve_1", "norm_1", "features", "logits"}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params"], meta_fields=["classes"])
@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
      params: its parameters.
      classes: number of classes.
    """

    params: Params
    classes: int

    def apply(self, images: UInt8[Array, "b h w c"]) -> tuple[Float[Array, "b k"], Float[Array, "b d"]]:
        """Logits and features."""
        outputs: Any = DigitClassifier(self.classes).apply({"params": self.params}, images / 255.0)
        return outputs

    def features(self, data: str = "mnist_5k") -> FeatureExtractor:
        """Returns its features; the metrics are named after digits where the data of this name are digits."""

        def apply(params: Params, images: UInt8[Array, "b h w c"]) -> dict[str, Float[Array, "b d"]]:
            return {"features": Classifier(params, self.classes).apply(images)[1]}

        digits = any(word in Path(data).name.lower() for word in ("mnist", "digits"))
        return FeatureExtractor("digits" if digits else "classes", apply, params=self.params)


def _random_shift(key: KeyArray, image: Float[Array, "h w c"], amount: int) -> Float[Array, "h w c"]:
    """Moves an image by up to `amount` pixels, edges repeated."""
    padded = jnp.pad(image, ((amount, amount), (amount, amount), (0, 0)), mode="edge")
    row, column = jax.random.randint(key, (2,), 0, 2 * amount + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)


def train_classifier(
    images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, "n"], *, seed: int = 0, steps: int = 1000
) -> Classifier:
    """Trains on labelled images with AdamW, shifted by up to one pixel, in one jitted loop.

    Raises:
      InputError: fewer than two classes, or features that do not tell images from each other.
    """
    if labels.min() < 0 or len(np.unique(labels)) < 2 or labels.max() >= len(labels):
        raise InputError(
            "A small classifier's features need a label for each image, of at least two classes, but those of "
            f"these {len(labels)} are {labels.min()} to {labels.max()}: put images into sub-folders by class, or "
            "give --features or --protocol."
        )
    classes = int(labels.max()) + 1
    for rate in _RATES:
        found = _fitted(jnp.asarray(images), jnp.asarray(labels), classes, rate, seed, steps)
        if int(jnp.sum(jnp.std(_some_features(found, images), axis=0) > 0)) >= _ALIVE:
            return found
    raise InputError(
        "No distance can be measured: the features of the small classifier are the same for nearly all of the "
        f"{len(labels)} images. Give --features or --protocol."
    )


def _some_features(classifier: Classifier, images: UInt8[np.ndarray, "n h w c"]) -> Float[Array, "m d"]:
    """Of up to 256 images, spread over all."""
    some = images[np.linspace(0, len(images) - 1, min(len(images), 256)).astype(int)]
    return jax.jit(lambda c, x: c.apply(x)[1])(classifier, jnp.asarray(some))


def _fitted(
    images: UInt8[Array, "n h w c"], labels: Int[Array, "n"], classes: int, rate: float, seed: int, steps: int
) -> Classifier:
    network = DigitClassifier(classes)
    tx = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=1e-3)

    @jax.jit
    def fit(key, images, labels):
        params = network.init(key, images[:1] / 255.0)["params"]

        def loss(params, key, batch, targets):
            shift_key, dropout_key = jax.random.split(key)
            x = jax.vmap(_random_shift, (0, 0, None))(jax.random.split(shift_key, _BATCH), batch / 255.0, 1)
            logits, _ = network.apply({"params": params}, x, train=True, rngs={"dropout": dropout_key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        def step(carry, i):
            params, opt_state = carry
            pick_key, loss_key = jax.random.split(jax.random.fold_in(key, i))
            pick = jax.random.randint(pick_key, (_BATCH,), 0, images.shape[0])
            grads = jax.grad(loss)(params, loss_key, images[pick], labels[pick])
            updates, opt_state = tx.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[0][0]

    return Classifier(fit(jax.random.key(seed), images, labels), classes)


def predict_classes(classifier: Classifier, images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n"]:
    """Returns the likeliest class of each image."""
    return np.asarray(jax.jit(lambda c, x: c.apply(x)[0].argmax(-1))(classifier, images))


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Writes an .npz of named arrays, atomically."""
    flat, _ = jax.tree_util.tree_flatten_with_path(classifier.params)
    arrays: dict[str, Any] = {jax.tree_util.keystr(k, simple=True, separator="/"): np.asarray(v) for k, v in flat}
    with written_whole(path) as temporary:
        np.savez(temporary, classes=np.asarray(classifier.classes), **arrays)


def load_classifier(path: Path) -> Classifier:
    """Reads what `save_classifier` wrote.

    Raises:
      InputError: the file is not of that kind.
    """
    try:
        arrays = read_arrays(path)
    except InputError as error:
        raise InputError(f"{path} is no saved digit classifier: {error} Delete it: it will be trained again.") from None
    classes = arrays.pop("classes", np.zeros(()))
    params: dict = {}
    for name, value in arrays.items():
        layer, _, leaf = name.partition("/")
        params.setdefault(layer, {})[leaf] = jnp.asarray(value) if value.dtype.kind == "f" else None
    logits = params.get("logits", {}).get("bias")
    if set(params) != _LAYERS or logits is None or classes.dtype.kind not in "iu" or logits.shape != (classes,):
        raise InputError(f"{path} is no saved digit classifier: delete it, it will be trained again.")
    return Classifier(params, int(classes))
