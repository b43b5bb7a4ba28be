"""The least CLIP: of 8 x 8 images with captions in an array, for the words of captioned_shapes."""

from pathlib import Path

import numpy as np

CAPTIONS = ("a red circle", "a blue square", "a red square", "a blue circle")
COLOURS = ((255, 0, 0), (0, 0, 255))
CONFIG = """
from score_jax.configs import base
from score_jax.configs.unclip import small_clip

def get_config():
    config = small_clip.get_config()
    config.data.update(name="{data}", image_size=8, max_tokens=4)
    config.data.update(train_split="all[:32]", eval_split="all[32:]")
    config.network.update(features=8, patch=4, width=16, layers=1, heads=2)
    config.network.update(length=4, text_width=16, text_layers=1, text_heads=2)
    config.loss.shift = 1
    config.optimizer.update(learning_rate=1e-2, warmup_steps=0, decay="constant")
    config.ema.decay = 0.5
    config.training.update(batch_size=16, steps={steps}, log_every=1, checkpoint_every=10)
    config.evaluation.batch_size = 2
    return config
"""


def write_data(path: Path) -> None:
    """44 images whose colour and shape the caption says: a square fills the image, a circle a quarter of it."""
    images, captions = [], []
    for i in range(44):
        caption = CAPTIONS[i % 4]
        image = np.full((8, 8, 3), 255, np.uint8)
        colour = COLOURS["blue" in caption]
        image[(slice(None), slice(None)) if "square" in caption else (slice(0, 4), slice(0, 4))] = colour
        images.append(np.maximum(image, i).astype(np.uint8))  # so that no two are the same
        captions.append(caption)
    np.savez(path, images=np.stack(images), captions=np.array(captions))


def write_config(folder: Path, steps: int = 20) -> Path:
    """The config file, beside its data."""
    write_data(folder / "data.npz")
    path = folder / "clip.py"
    path.write_text(CONFIG.format(data=folder / "data.npz", steps=steps))
    return path
