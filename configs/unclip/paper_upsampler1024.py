"""unCLIP's second upsampler, 256 to 1024 pixels (Ramesh et al. 2022, section 2.3 and table 3)."""

from ml_collections import ConfigDict

from configs.unclip.shared import upsampler


def get_config() -> ConfigDict:
    """Convolutions alone, trained on squares of 256 pixels; 15 steps of DDIM."""
    config = upsampler(image_size=1024, low_resolution=256, degradation="bsrgan_light", schedule="linear")
    config.network.update(channels=192, channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2, dropout=0.0)
    config.loss.crop = 256
    config.optimizer.learning_rate = 1e-4
    config.training.update(batch_size=512, steps=1_000_000)
    config.sampler.update(name="ddim", respacing="ddim15", threshold="clip")
    return config
