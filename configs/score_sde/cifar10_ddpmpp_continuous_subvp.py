"""DDPM++ continuous on CIFAR-10 under sub-VP.

Song et al. 2021, tables 2 and 3: NLL 3.02 bits/dim, FID 2.61 (predictor only), 3.16 (ODE), 61.8 M parameters.
score_sde: configs/subvp/cifar10_ddpmpp_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/cifar10_ddpmpp_continuous_subvp.py --workdir=runs/cifar10_subvp
"""

from ml_collections import ConfigDict

from configs.score_sde import cifar10


def get_config() -> ConfigDict:
    """VP's config under the other process."""
    config = cifar10.get_config()
    config.process.name = "sub_vp"
    return config
