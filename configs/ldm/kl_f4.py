"""The first stage kl-f4: 256 x 256 pixels to latents of 64 x 64 x 3; 55.3 M parameters.

CompVis/latent-diffusion, kl-f4.zip: reconstructions of ImageNet's validation images have FID 0.27 and PSNR 27.53. The
learning rate is the effective one: 4.5e-6 times a batch of 10 on one device, 4.5e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/kl_f4.py --workdir=runs/kl_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A posterior, attention in the middle alone."""
    return shared.published_first_stage("kl-f4", start=50001, weight=0.5, batch_size=10, steps=176991)
