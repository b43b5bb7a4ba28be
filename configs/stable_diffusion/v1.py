"""Stable Diffusion 1.1 to 1.5 at 512 x 512, by text; 859.5 M parameters, 123.1 M of CLIP's text encoder.

CompVis/stable-diffusion: AdamW of a batch of 2048 at 1e-4, a tenth of the texts left out; 1.2 was trained for 515,000
steps at 512 x 512, 1.4 for 225,000 more. Any of its files has these networks:

    python -m score_jax convert --from=stable_diffusion sd-v1-4.ckpt --workdir=runs/sd
"""

from ml_collections import ConfigDict

from score_jax.configs.stable_diffusion import shared


def get_config() -> ConfigDict:
    """Version 1.2's training."""
    config = shared.version_1()
    config.training.steps = 515_001
    return config
