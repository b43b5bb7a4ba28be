"""ADM's architecture ablation on ImageNet 128 x 128: one difference at a time.

Dhariwal and Nichol 2021, tables 1-3: depth against width, number and width of heads, resolutions of attention,
resampling in residual blocks (BigGAN's), adaptive group norm. Batches of 256, 700 K steps. Not run here yet.

    python -m score_jax train --config=configs/adm/ablation.py:heads_4 --workdir=runs/ablation_heads_4
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import imagenet128
from score_jax.errors import unknown_name

VARIANTS = {
    "base": {},
    "width_160": {"channels": 160},
    "depth_4": {"num_res_blocks": 4},
    "heads_2": {"num_heads": 2},
    "heads_4": {"num_heads": 4},
    "heads_8": {"num_heads": 8},
    "head_channels_32": {"num_head_channels": 32},
    "head_channels_64": {"num_head_channels": 64},
    "head_channels_128": {"num_head_channels": 128},
    "attention_16": {"attention_resolutions": (16,)},
    "resample_between_blocks": {"resblock_updown": False},
    "added_embedding": {"scale_shift_norm": False},
}


def get_config(variant: str = "base") -> ConfigDict:
    """128 channels, 2 blocks a level, 1 head, attention at 32, 16 and 8 pixels; `variant` is a key of `VARIANTS`."""
    if variant not in VARIANTS:
        raise unknown_name("variant of the ablation", variant, VARIANTS)
    config = imagenet128.get_config()
    config.network.update(channels=128, num_heads=1)
    config.training.steps = 700_001
    with config.ignore_type():
        config.network.update(VARIANTS[variant])
    return config
