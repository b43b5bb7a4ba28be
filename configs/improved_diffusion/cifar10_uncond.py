"""Improved DDPM on CIFAR-10.

Nichol and Dhariwal 2021, table 2: NLL 3.17 bits/dim, FID 3.19; 52.5 M parameters. Released as
cifar10_uncond_50M_500K.pt. Not run here yet.

    python -m score_jax train --config=configs/improved_diffusion/cifar10_uncond.py --workdir=runs/cifar10_uncond
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import shared


def get_config() -> ConfigDict:
    """4000 levels of the cosine schedule, learned variance, dropout 0.3."""
    config = shared.improved("cifar10", 32)
    config.network.update(channel_mult=(1, 2, 2, 2), dropout=0.3)
    config.training.update(batch_size=128, steps=500_001)
    return config
