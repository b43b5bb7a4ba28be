"""The first stage vq-f8: 256 x 256 pixels to latents of 32 x 32 x 4; 67.7 M parameters.

CompVis/latent-diffusion, vq-f8.zip: reconstructions of ImageNet's validation images have FID 1.14 and PSNR 23.07. The
learning rate is the effective one: 4.5e-6 times a batch of 10 on one device, 4.5e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/vq_f8.py --workdir=runs/vq_f8
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A codebook of 16384 entries."""
    config = shared.published_first_stage("vq-f8", start=1, weight=0.6, batch_size=10, steps=971043)
    config.loss.discriminator_layers = 2
    return config
