"""A person's own images on a few CPU cores, at up to 32 x 32 pixels.

    python -m score_jax train --data=FOLDER

chooses it where there is no accelerator, and gives it the images' size, channels and classes. At 32 x 32 training
takes about four minutes of processor time; see docs/data.md.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """A DDPM++ of EDM's kind, 16 channels at the first of three levels, sampled by 18 steps of Heun."""
    config = shared.edm()
    base.set_data(config, "folder:images")
    config.data.update(image_size=32, resize_filter="bicubic", dequantize=True)
    base.replace_section(
        config,
        "network",
        name="edm_song",
        channels=16,
        channel_mult=(1, 2, 4),
        num_res_blocks=1,
        attention_resolutions=(8, 7),
        dropout=0.0,
        num_classes=0,
        dtype="float32",
    )
    config.optimizer.update(learning_rate=2e-3, warmup_steps=100, decay="cosine", clip_norm=1.0)
    config.ema.update(decay=0.99, warmup=True)
    config.training.update(batch_size=32, steps=500, log_every=20, checkpoint_every=250, keep=2, sample_every=250)
    config.sampling.update(num_samples=64, batch_size=32)
    config.likelihood.update(num_examples=64, batch_size=32, rtol=1e-3, atol=1e-3)
    config.evaluation.update(num_samples=256, batch_size=32)
    return config
