"""NCSNv2 on FFHQ at 256 x 256; 94.1 M parameters.

Song and Ermon 2020: 3 Langevin steps of 9e-7. Not run here yet.

    python -m score_jax train --config=configs/ncsnv2/ffhq.py --workdir=runs/ffhq
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsnv2 import shared


def get_config() -> ConfigDict:
    """Levels by the paper's techniques 1 and 2."""
    config = shared.ncsnv2("folder:ffhq_256", 256, sigma_max=348.0, num_levels=2311, step_lr=9e-07, steps_per_level=3)
    config.network.variant = "deepest"
    config.optimizer.eps = 1e-3
    config.training.update(batch_size=32, steps=80_001)
    return config
