"""A person's own images on an accelerator, at 128 x 128 to 256 x 256 pixels.

    python -m score_jax train --data=FOLDER

chooses it where there is a GPU or TPU, and gives it the images' size, channels and classes.
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """ADM's network with half of its channels, the cosine schedule, batches of 32, sampled by 50 steps."""
    config = shared.adm("folder:images", 256)
    config.data.update(train_split="all", eval_split="all", flip=False)
    config.process.schedule = "cosine"
    config.network.update(channels=128, attention_resolutions=(32, 16, 8), dropout=0.1)
    config.sampler.respacing = "50"
    config.ema.update(decay=0.9995, warmup=True)
    config.training.update(batch_size=32, steps=100_000, log_every=50, checkpoint_every=1000, sample_every=5000)
    config.evaluation.update(num_samples=5000, batch_size=16)
    return config
