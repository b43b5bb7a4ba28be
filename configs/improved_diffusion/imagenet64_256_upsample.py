"""Improved DDPM's class-conditional upsampler of ImageNet, 64 x 64 to 256 x 256; 279.8 M parameters.

Released as upsample_cond_500K.pt. The published two-stage stack has FID 12.26. Not run here
yet.

    python -m score_jax train --config=configs/improved_diffusion/imagenet64_256_upsample.py \\
        --workdir=runs/imagenet64_256_upsample
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import shared


def get_config() -> ConfigDict:
    """The UNet of 256 x 256 with a low-resolution image as condition, linear schedule."""
    config = shared.improved("imagenet2012", 256)
    config.network.update(
        channels=192, channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2, num_classes=1000, super_resolution=True
    )
    config.data.low_resolution = 64
    config.process.schedule = "linear"
    config.loss.vb_scale = 1.0
    config.prediction.label = "index"
    config.optimizer.learning_rate = 3e-4
    config.training.update(batch_size=256, steps=500_001)
    return config
