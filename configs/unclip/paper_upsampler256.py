"""unCLIP's first upsampler, 64 to 256 pixels (Ramesh et al. 2022, section 2.3 and table 3)."""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import paper_upsampler


def get_config() -> ConfigDict:
    """Convolutions alone, trained on squares of 64 pixels; 27 steps of DDIM."""
    sizes = {"channels": 320, "channel_mult": (1, 2, 3, 4), "num_res_blocks": 3, "dropout": 0.1}
    config = paper_upsampler(64, 256, "blurred", "cosine", **sizes)
    config.optimizer.learning_rate = 1.2e-4
    config.training.batch_size = 1024
    config.sampler.update(name="ddim", respacing="ddim27", threshold="clip")
    return config
