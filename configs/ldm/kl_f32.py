"""The first stage kl-f32: 256 x 256 pixels to latents of 8 x 8 x 64; 103.9 M parameters.

CompVis/latent-diffusion, kl-f32.zip: reconstructions of ImageNet's validation images have FID 2.04 and PSNR 22.27. The
learning rate is the effective one: 4.5e-6 times a batch of 6 on one device, 2.7e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/kl_f32.py --workdir=runs/kl_f32
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A posterior."""
    return shared.published_first_stage("kl-f32", start=50001, weight=0.5, batch_size=6, steps=406763)
