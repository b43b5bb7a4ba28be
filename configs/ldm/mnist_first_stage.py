"""An autoencoder of MNIST digits on two CPU cores: 32 x 32 pixels to latents of 8 x 8 x 3, for ldm/mnist_class.py.

python -m score_jax train --config=configs/ldm/mnist_first_stage.py --workdir=runs/mnist_first_stage
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.ldm.shared import first_stage


def get_config() -> ConfigDict:
    """0.7 M parameters of KL-f4's kind, trained on pixels' errors and against a small patch discriminator."""
    config = first_stage("kl-f4")
    base.set_data(config, "mnist_5k")
    config.data.update(image_size=32, channels=1, resize_filter="bilinear")
    config.network.update(channels=32, channel_mult=(1, 1, 2), num_res_blocks=1, norm_groups=8, image_channels=1)
    config.loss.update(pixels="l2", perceptual_weight=0.0, adversarial_start=400, adversarial_weight=0.2)
    config.loss.update(discriminator_channels=16, discriminator_layers=2)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=50, decay="cosine")
    config.training.update(batch_size=16, steps=1200, log_every=20, checkpoint_every=250, keep=2)
    return config
