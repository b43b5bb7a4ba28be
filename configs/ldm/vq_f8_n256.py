"""The first stage vq-f8-n256: 256 x 256 pixels to latents of 32 x 32 x 4; 67.7 M parameters.

CompVis/latent-diffusion, vq-f8-n256.zip: reconstructions of ImageNet's validation images have FID 1.49 and PSNR 22.35.
The learning rate is the effective one: 4.5e-6 times a batch of 10 on one device, 4.5e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/vq_f8_n256.py --workdir=runs/vq_f8_n256
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A codebook of 256 entries."""
    return shared.published_first_stage("vq-f8-n256", start=250001, weight=0.75, batch_size=10, steps=1608649)
