"""ADM-U on ImageNet 256 x 256: the model of 64 x 64 and its upsampler, one after the other.

Dhariwal and Nichol 2021, table 5: FID 7.49, sFID 5.13, precision 0.72, recall 0.63 (250 steps each). Not run here yet.

    python -m score_jax evaluate --config=configs/adm/imagenet256_cascade.py --workdir=runs/imagenet256_cascade \\
        --protocol=adm
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Both as their runs say: 250 ancestral steps with the learned variance."""
    return shared.cascade("runs/imagenet64", "runs/imagenet64_256_upsample", image_size=256)
