"""The first stage kl-f8: 256 x 256 pixels to latents of 32 x 32 x 4; 83.7 M parameters.

CompVis/latent-diffusion, kl-f8.zip: reconstructions of ImageNet's validation images have FID 0.90 and PSNR 24.19. The
learning rate is the effective one: 4.5e-6 times a batch of 4 on one device, 1.8e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/kl_f8.py --workdir=runs/kl_f8
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A posterior, attention in the middle alone; Stable Diffusion's first stage is of the same network."""
    return shared.published_first_stage("kl-f8", start=50001, weight=0.5, batch_size=4, steps=246803)
