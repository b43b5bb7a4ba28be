"""ADM's upsampler of ImageNet, 64 x 64 to 256 x 256.

Dhariwal and Nichol 2021, table 5: FID 7.49, 3.94 with a guided base (250 steps); 311.8 M parameters. Released as
64_256_upsampler.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet64_256_upsample.py --workdir=runs/imagenet64_256_upsample
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """192 channels, 4 heads, a low-resolution image as condition."""
    config = shared.adm("imagenet2012", 256)
    config.network.update(channels=192, num_classes=1000, num_heads=4, num_head_channels=None, super_resolution=True)
    config.data.low_resolution = 64
    config.training.steps = 500_001
    return config
