"""unCLIP's second upsampler, 256 to 1024 pixels (Ramesh et al. 2022, section 2.3 and table 3)."""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import paper_upsampler


def get_config() -> ConfigDict:
    """Convolutions alone, trained on squares of 256 pixels; 15 steps of DDIM."""
    sizes = {"channels": 192, "channel_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "dropout": 0.0}
    config = paper_upsampler(256, 1024, "bsrgan_light", "linear", **sizes)
    config.optimizer.learning_rate = 1e-4
    config.training.batch_size = 512
    config.sampler.update(name="ddim", respacing="ddim15", threshold="clip")
    return config
