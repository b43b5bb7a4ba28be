"""NCSN on CelebA at 32 x 32; 30.1 M parameters.

Song and Ermon 2019: no FID is published for it. Sampled there by annealed Langevin dynamics, 100 steps of 2e-5 at each
of 10 levels. Not run here yet.

    python -m score_jax train --config=configs/ncsn/celeba.py --workdir=runs/celeba
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsn import shared


def get_config() -> ConfigDict:
    """Ten levels from 1 to 0.01, the conditional RefineNet."""
    config = shared.ncsn("celeb_a", 32, 3)
    config.data.update(flip=True, crop=140, resize_filter="bilinear")
    return config
