"""Stable Diffusion 1.5's model for inpainting at 512 x 512, by text; 859.5 M parameters.

data.holes: channels 5 to 9 of the input are the mask (1: to be painted, 0: known) at the latent's size, then the scaled
latent of the image without what is to be painted. How long it was trained is not in the code.

    python -m score_jax convert --from=stable_diffusion sd-v1-5-inpainting.ckpt --workdir=runs/sd_inpainting
"""

from ml_collections import ConfigDict

from score_jax.configs.stable_diffusion import shared


def get_config() -> ConfigDict:
    """Version 1 with five channels more."""
    config = shared.version_1()
    with config.unlocked():
        config.network.concat_channels = 5
    config.data.holes = "stable_diffusion"
    return config
