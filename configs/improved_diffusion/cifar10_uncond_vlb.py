"""Improved DDPM trained on the variational bound alone.

Nichol and Dhariwal 2021, table 2, CIFAR-10: NLL 2.94 bits/dim, FID 11.47; 52.5 M parameters. The network of
cifar10_uncond.py; times are drawn by the second moment of their losses. Not run here yet.

    python -m score_jax train --config=configs/improved_diffusion/cifar10_uncond_vlb.py \\
        --workdir=runs/cifar10_uncond_vlb
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import cifar10_uncond


def get_config() -> ConfigDict:
    """The same network, data and steps."""
    config = cifar10_uncond.get_config()
    config.loss.update(name="vlb", time_sampling="loss_second_moment")
    return config
