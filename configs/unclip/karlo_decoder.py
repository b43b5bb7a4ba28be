"""Karlo v1 alpha's decoder: from an embedding of CLIP ViT-L/14 and a caption to 64 x 64 pixels; 893.3 M parameters.

See karlo_prior.py. The optimizer is that of unCLIP's decoder (Ramesh et al. 2022, table 3).
"""

from ml_collections import ConfigDict

from configs import base
from configs.unclip.shared import as_published, text_sizes, vit_l_14, with_clip


def get_config() -> ConfigDict:
    """ADM's blocks, the variance learned; 25 steps with a guidance of 8. Captions are left out more often."""
    clip = vit_l_14()
    config = with_clip(clip)
    config.data.image_size = 64
    base.replace_section(
        config,
        "network",
        name="unclip_decoder",
        channels=320,
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_factors=(2, 4, 8),
        image_features=clip.network.features,
        context_width=1536,
        extra_tokens=4,
        dropout=0.1,
        learn_sigma=True,
        num_head_channels=64,
        scale_shift_norm=True,
        norm_groups=32,
        remat=(),
        dtype="float32",
        **text_sizes(clip),
    )
    as_published(config, "25", batch_size=2048)
    config.loss.update(name="hybrid", variance="learned_range", condition_dropout=0.1, caption_dropout=0.3)
    config.sampler.variance = "learned_range"
    config.guidance.scale = 8.0
    return config
