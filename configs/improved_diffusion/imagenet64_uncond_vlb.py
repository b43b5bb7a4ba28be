"""Improved DDPM trained on the variational bound alone.

Nichol and Dhariwal 2021, table 2, ImageNet 64 x 64: NLL 3.53 bits/dim, FID 40.1; 121.1 M parameters. The network of
imagenet64_uncond.py; times are drawn by the second moment of their losses. Not run here yet.

    python -m score_jax train --config=configs/improved_diffusion/imagenet64_uncond_vlb.py \\
        --workdir=runs/imagenet64_uncond_vlb
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import imagenet64_uncond


def get_config() -> ConfigDict:
    """The same network, data and steps."""
    config = imagenet64_uncond.get_config()
    config.loss.update(name="vlb", time_sampling="loss_second_moment")
    return config
