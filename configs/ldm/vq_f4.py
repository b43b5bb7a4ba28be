"""The first stage vq-f4: 256 x 256 pixels to latents of 64 x 64 x 3; 55.3 M parameters.

CompVis/latent-diffusion, vq-f4.zip: reconstructions of ImageNet's validation images have FID 0.58 and PSNR 27.43. The
learning rate is the effective one: 4.5e-6 times a batch of 8 on one device, 3.6e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/vq_f4.py --workdir=runs/vq_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A codebook of 8192 entries, attention in the middle alone."""
    return shared.published_first_stage("vq-f4", start=0, weight=0.75, batch_size=8, steps=533066)
