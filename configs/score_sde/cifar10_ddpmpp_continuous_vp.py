"""DDPM++ continuous on CIFAR-10 under VP.

Song et al. 2021, tables 2 and 3: NLL 3.16 bits/dim, FID 2.55 (predictor only), 3.93 (ODE), 61.8 M parameters.
score_sde: configs/vp/cifar10_ddpmpp_continuous.py. Trained there on 8 GPUs or TPU cores; not run here yet.

    python -m score_jax train --config=configs/score_sde/cifar10_ddpmpp_continuous_vp.py --workdir=runs/cifar10_vp
"""

from ml_collections import ConfigDict

from configs.score_sde import cifar10


def get_config() -> ConfigDict:
    """The base is this model already."""
    return cifar10.get_config()
