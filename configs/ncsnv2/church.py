"""NCSNv2 on LSUN church at 96 x 96; 83.4 M parameters.

Song and Ermon 2020: 4 Langevin steps of 4.9e-6; the original config says 64 pixels, its README's figure 96. Not
run here yet.

    python -m score_jax train --config=configs/ncsnv2/church.py --workdir=runs/church
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsnv2 import shared


def get_config() -> ConfigDict:
    """Levels by the paper's techniques 1 and 2."""
    config = shared.ncsnv2("lsun/church", 96, sigma_max=140.0, num_levels=788, step_lr=4.9e-06, steps_per_level=4)
    config.network.variant = "deeper"
    config.training.steps = 200_001
    return config
