"""What the CIFAR-10 configs of Song et al. 2021 share (score_sde, configs/default_cifar10_configs.py)."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """CIFAR-10, 4 blocks a level, 1.3 M steps of 128 images, Adam 2e-4 with warmup and clipping."""
    config = base.get_config()
    config.data.flip = True
    config.likelihood.batch_size = 1024
    config.evaluation.update(num_samples=50_000, batch_size=1024)
    return config
