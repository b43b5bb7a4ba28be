"""ADM on ImageNet 256 x 256.

Dhariwal and Nichol 2021, table 5: FID 10.94, 4.59 guided at scale 1 (250 steps); 553.8 M parameters. Released as
256x256_diffusion.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet256.py --workdir=runs/imagenet256
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Six levels."""
    config = shared.adm("imagenet2012", 256)
    config.network.num_classes = 1000
    config.training.steps = 1_980_001
    return config
