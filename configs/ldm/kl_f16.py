"""The first stage kl-f16: 256 x 256 pixels to latents of 16 x 16 x 16; 69.6 M parameters.

CompVis/latent-diffusion, kl-f16.zip: reconstructions of ImageNet's validation images have FID 0.87 and PSNR 24.08. The
learning rate is the effective one: 4.5e-6 times a batch of 6 on one device, 2.7e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/kl_f16.py --workdir=runs/kl_f16
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A posterior."""
    return shared.published_first_stage("kl-f16", start=50001, weight=0.5, batch_size=6, steps=442998)
