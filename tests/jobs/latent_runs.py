"""The least runs of latent diffusion: an autoencoder of 8 x 8 images, and a model of its latents with classes."""

from pathlib import Path

import jax.numpy as jnp

AUTOENCODER = """
from score_jax.configs.ldm import mnist_first_stage

def get_config():
    config = mnist_first_stage.get_config()
    config.data.update(name="digits", image_size=8, resize_filter="none")
    config.data.update(train_split="train[:64]", eval_split="test[:24]")
    config.network.update(channels=32, channel_mult=(1, 1), num_res_blocks=1)
    config.loss.update(adversarial_start=2, discriminator_channels=4, discriminator_layers=1)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=0, decay="constant")
    config.training.update(batch_size=16, steps=4, log_every=1, checkpoint_every=2)
    return config
"""
MODEL = """
import autoencoder
from score_jax.configs import base
from score_jax.configs.ldm.shared import latent_model, with_classes

def get_config():
    config = latent_model(autoencoder.get_config(), linear_start=0.0015, linear_end=0.0195)
    base.replace_section(
        config, "network", name="latent_unet", channels=32, channel_mult=(1,), num_res_blocks=1,
        attention_factors=(1,), num_head_channels=32, remat=(), dtype="float32",
    )
    with_classes(config, num_classes=11, width=16)
    config.loss.condition_dropout = 0.3
    config.process.num_levels = 20
    config.optimizer.update(learning_rate=1e-3)
    config.ema.update(decay=0.5, warmup=False)
    config.training.update(batch_size=16, steps=4, log_every=1, checkpoint_every=2, sample_every=0)
    config.sampler.num_steps = 3
    config.sampling.update(num_samples=8, batch_size=8)
    config.likelihood.update(batch_size=8, num_examples=8, rtol=1e-2, atol=1e-2, sensitivity_batches=0)
    config.evaluation.update(num_samples=16, batch_size=2)
    return config
"""


def write_configs(folder: Path) -> tuple[Path, Path]:
    """The two config files, in a folder from which the second finds the first."""
    for name, text in (
        ("autoencoder", AUTOENCODER),
        ("model", f"import sys\nsys.path.insert(0, {str(folder)!r})\n{MODEL}"),
    ):
        (folder / f"{name}.py").write_text(text)
    return folder / "autoencoder.py", folder / "model.py"


def rows(images):
    """Features of images (b, 8, 8, 1) for `evaluate`: the means of their rows."""
    return jnp.mean(images.astype(jnp.float32), axis=(2, 3))
