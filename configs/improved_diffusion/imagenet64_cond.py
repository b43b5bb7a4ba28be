"""Improved DDPM on ImageNet 64 x 64 with class labels.

Nichol and Dhariwal 2021, section 5: FID 2.92 (250 steps); 273.0 M parameters. Released as imagenet64_cond_270M_250K.pt.
Not run here yet.

    python -m score_jax train --config=configs/improved_diffusion/imagenet64_cond.py --workdir=runs/imagenet64_cond
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import shared


def get_config() -> ConfigDict:
    """192 channels, 1000 classes, the index as it is."""
    config = shared.improved("imagenet2012", 64)
    config.network.update(channels=192, num_classes=1000)
    config.prediction.label = "index"
    config.loss.vb_scale = 1.0
    config.optimizer.learning_rate = 3e-4
    config.training.update(batch_size=2048, steps=250_001)
    return config
