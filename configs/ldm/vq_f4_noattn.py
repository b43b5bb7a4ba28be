"""The first stage vq-f4-noattn: 256 x 256 pixels to latents of 64 x 64 x 3; 53.2 M parameters.

CompVis/latent-diffusion, vq-f4-noattn.zip: reconstructions of ImageNet's validation images have FID 1.06 and PSNR
25.21. The learning rate is the effective one: 4.5e-6 times a batch of 8 on one device, 3.6e-05. Not run here yet.

    python -m score_jax train --config=configs/ldm/vq_f4_noattn.py --workdir=runs/vq_f4_noattn
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """A codebook of 8192 entries, no attention."""
    return shared.published_first_stage("vq-f4-noattn", start=11, weight=0.75, batch_size=8, steps=658131)
