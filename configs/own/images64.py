"""A person's own images on an accelerator, at up to 64 x 64 pixels.

    python -m score_jax train --data=FOLDER

chooses it where there is a GPU or TPU, and gives it the images' size, channels and classes.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """EDM's DDPM++ of faces at 64 x 64, with batches, steps and an average for thousands of images and not 70,000."""
    config = shared.faces("folder:images")
    base.set_data(config, "folder:images")
    shared.ddpmpp(config)
    config.data.augment = 0.0
    config.network.update(augment_dim=0, dropout=0.1, dtype="bfloat16")
    config.sampler.num_steps = 18
    config.optimizer.update(learning_rate=4e-4, warmup_steps=1000, decay="cosine", clip_norm=1.0)
    config.ema.update(decay=0.9995, warmup=True)
    config.training.update(batch_size=128, steps=50_000, log_every=50, checkpoint_every=1000, sample_every=5000)
    config.evaluation.update(num_samples=5000, batch_size=64)
    return config
