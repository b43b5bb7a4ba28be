"""NCSNv2 on LSUN bedroom at 128 x 128; 83.4 M parameters.

Song and Ermon 2020: 3 Langevin steps of 1.8e-6. Not run here yet.

    python -m score_jax train --config=configs/ncsnv2/bedroom.py --workdir=runs/bedroom
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsnv2 import shared


def get_config() -> ConfigDict:
    """Levels by the paper's techniques 1 and 2."""
    config = shared.ncsnv2("lsun/bedroom", 128, sigma_max=190.0, num_levels=1086, step_lr=1.8e-06, steps_per_level=3)
    config.network.variant = "deeper"
    config.training.steps = 150_001
    return config
