"""Karlo v1 alpha's upsampler: from 64 x 64 to 256 x 256 pixels; two networks of 691.6 M parameters.

See karlo_prior.py. The second network, which takes the last step, was tuned with an adversarial and a perceptual loss;
`train` does not do that, and the optimizer is that of unCLIP's first upsampler (Ramesh et al. 2022, table 3).
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip.shared import as_published


def get_config() -> ConfigDict:
    """Convolutions alone, and only the small image as condition; meant for 7 steps, without guidance."""
    config = base.get_config()
    base.set_data(config, "folder:coyo")
    config.data.update(image_size=256, resize_filter="bicubic", low_resolution=64, degradation="bicubic")
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=1000)
    base.replace_section(config, "prediction", output="eps", label="index")
    base.replace_section(
        config,
        "network",
        name="karlo_upsampler",
        channels=320,
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        dropout=0.0,
        scale_shift_norm=False,
        norm_groups=32,
        remat=(),
        dtype="float32",
    )
    as_published(config, "7", batch_size=1024)
    return config
