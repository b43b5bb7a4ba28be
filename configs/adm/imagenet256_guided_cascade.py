"""ADM-G, ADM-U on ImageNet 256 x 256: a classifier guides the model of 64 x 64, and nothing its upsampler.

Dhariwal and Nichol 2021, table 5: FID 3.94, sFID 6.14, precision 0.83, recall 0.53 (250 steps each). Not run here yet.

    python -m score_jax evaluate --config=configs/adm/imagenet256_guided_cascade.py --workdir=runs/imagenet256_guided \\
        --protocol=adm
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import imagenet256_cascade


def get_config() -> ConfigDict:
    """The README's scale of the 64 x 64 model."""
    config = imagenet256_cascade.get_config()
    config.cascade.stage1.guidance.update(name="classifier", workdir="runs/classifier64", scale=1.0)
    return config
