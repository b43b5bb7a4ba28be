"""ADM's upsampler of ImageNet, 128 x 128 to 512 x 512.

Dhariwal and Nichol 2021, table 5: FID 9.96, 3.85 with a guided base (250 steps); 308.8 M parameters. Released as
128_512_upsampler.pt, with attention at 32 and 16 where the paper lists 8 too. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet128_512_upsample.py --workdir=runs/imagenet128_512_upsample
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """192 channels, six levels, a low-resolution image as condition."""
    config = shared.adm("imagenet2012", 512)
    config.network.update(
        channels=192,
        channel_mult=(1, 1, 2, 2, 4, 4),
        attention_resolutions=(32, 16),
        num_classes=1000,
        super_resolution=True,
    )
    config.data.low_resolution = 128
    config.training.steps = 1_050_001
    return config
