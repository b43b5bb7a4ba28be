"""DDPM on CelebA at 64 x 64, the model of DDIM.

Song, Meng and Ermon 2020, table 1: FID 3.51 (DDIM, 1000 steps), 5.98 (eta 1), 3.26 (larger variance); 78.7 M
parameters. ermongroup/ddim: configs/celeba.yml, without warmup. Not run here yet.

    python -m score_jax train --config=configs/ddpm/celeba64.py --workdir=runs/celeba64
"""

from ml_collections import ConfigDict

from score_jax.configs.ddpm import shared


def get_config() -> ConfigDict:
    """Five levels, no warmup."""
    config = shared.ddpm()
    config.data.update(name="celeb_a", image_size=64, crop=140, resize_filter="bilinear", flip=True)
    config.network.update(channel_mult=(1, 2, 2, 2, 4), dropout=0.1)
    config.optimizer.warmup_steps = 0
    return config
