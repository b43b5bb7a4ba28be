"""Cases of CLIP's tokenizer and of its preparation of images."""

import json

import jax.numpy as jnp
import numpy as np

from score_jax.data import clip_images
from score_jax.data.tokenizer import decode, encode, tokenize


def run_tokenizer(file, dtype):
    """Texts to ids with and without ftfy, and back."""
    config = file.meta["config"]
    texts = json.loads(config["texts_json"])
    encoded = [encode(text) for text in texts]
    ids, plain = tokenize(texts, truncate=True), tokenize(texts, truncate=True, clean=lambda text: text)
    return {
        "out/ids": ids,
        "out/ids_no_ftfy": plain,
        "out/ftfy_changes": (ids != plain).any(axis=1),
        "out/ids_ctx": tokenize(texts, config["context"], truncate=True),
        "out/raw_lengths": np.array([len(of_text) for of_text in encoded]),
        "out/raw_concat": np.array([i for of_text in encoded for i in of_text], int),
        "out/decoded_json": np.array(json.dumps([decode(of_text) for of_text in encoded])),
    }


def run_preprocess(file, dtype):
    """Each image at the network's size, as bytes and normalised."""
    size, found = file.meta["config"]["n_px"], {}
    for name, image in file.group("in").items():
        levels = clip_images.fit(image, size, name)
        prepared = np.asarray(clip_images.prepared(jnp.asarray(levels[None]))[0])
        found |= {f"out/{name}_uint8": levels, f"out/{name}": prepared.transpose(2, 0, 1)}
    return found


HANDLERS = {
    ("clip", "tokenizer"): run_tokenizer,
    ("clip", "preprocess"): run_preprocess,
}
