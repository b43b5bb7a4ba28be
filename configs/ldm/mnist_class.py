"""A class-conditional latent diffusion model of MNIST digits on two CPU cores, in the latents of a first stage.

python -m score_jax train --config=configs/ldm/mnist_class.py --workdir=runs/mnist_class \\
    --config.training.first_stage=runs/mnist_first_stage
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.ldm import mnist_first_stage
from score_jax.configs.ldm.shared import latent_model, with_classes


def get_config() -> ConfigDict:
    """1.7 M parameters; a tenth of the classes is left out in training, for guidance.

    Norms have 32 groups, so the narrowest level has 64 channels: with one channel a group, a norm takes out again what
    the embedding of the time added.
    """
    config = latent_model(mnist_first_stage.get_config(), linear_start=0.0015, linear_end=0.0195)
    base.replace_section(
        config,
        "network",
        name="latent_unet",
        channels=64,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_factors=(1, 2),
        num_head_channels=32,
        remat=(),
        dtype="float32",
    )
    with_classes(config, num_classes=11, width=64)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.995, warmup=True)
    config.training.update(batch_size=64, steps=1200, log_every=20, checkpoint_every=500, keep=2, sample_every=0)
    config.sampler.num_steps = 25
    config.evaluation.update(num_samples=512, batch_size=64)
    return config
