"""The first stage vq-f16: 256 x 256 pixels to latents of 16 x 16 x 8; 69.6 M parameters.

CompVis/latent-diffusion, vq-f16.zip: reconstructions of ImageNet's validation images have FID 5.15 and PSNR 20.83. The
learning rate is the effective one: 4.5e-6 times a batch of 14 on one device, 6.3e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/vq_f16.py --workdir=runs/vq_f16
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A codebook of 16384 entries."""
    config = shared.published_first_stage("vq-f16", start=250001, weight=0.75, batch_size=14, steps=1101166)
    config.loss.discriminator_layers = 2
    return config
