"""NCSNv2 on CelebA at 64 x 64; 29.7 M parameters.

Song and Ermon 2020: FID 10.23; 5 Langevin steps of 3.3e-6. Not run here yet.

    python -m score_jax train --config=configs/ncsnv2/celeba.py --workdir=runs/celeba
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsnv2 import shared


def get_config() -> ConfigDict:
    """Levels by the paper's techniques 1 and 2."""
    config = shared.ncsnv2("celeb_a", 64, sigma_max=90.0, num_levels=500, step_lr=3.3e-06, steps_per_level=5)
    config.data.crop = 140
    config.training.steps = 210_001
    return config
