"""NCSNv2 on CIFAR-10; 29.7 M parameters.

Song and Ermon 2020: FID 10.87, IS 8.40 with the final denoising step; 5 Langevin steps of 6.2e-6. Not run here yet.

    python -m score_jax train --config=configs/ncsnv2/cifar10.py --workdir=runs/cifar10
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsnv2 import shared


def get_config() -> ConfigDict:
    """Levels by the paper's techniques 1 and 2."""
    config = shared.ncsnv2("cifar10", 32, sigma_max=50.0, num_levels=232, step_lr=6.2e-06, steps_per_level=5)
    config.training.steps = 300_001
    return config
