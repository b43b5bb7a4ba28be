"""Karlo v1 alpha's decoder: from an embedding of CLIP ViT-L/14 and a caption to 64 x 64 pixels; 893.3 M parameters.

See karlo_prior.py. The optimizer is that of unCLIP's decoder (Ramesh et al. 2022, table 3).
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import as_published, decoder64, vit_l_14


def get_config() -> ConfigDict:
    """ADM's blocks, the variance learned; 25 steps with a guidance of 8. Captions are left out more often."""
    config = decoder64(vit_l_14(), channels=320, context_width=1536, remat=(), dtype="float32")
    as_published(config, "25", batch_size=2048)
    config.loss.caption_dropout = 0.3
    config.sampler.variance = "learned_range"
    config.guidance.scale = 8.0
    return config
