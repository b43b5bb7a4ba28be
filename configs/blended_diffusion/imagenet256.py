"""Blended Diffusion with ADM on ImageNet 256 x 256 without labels: edits by text, nothing is trained.

Avrahami et al. 2022: 100 of 1000 levels, the first 25 left out, learned variance, x0 not clipped. Of the released
256x256_diffusion_uncond.pt and OpenAI's ViT-B-16.pt; the paper judges by a user study. Not run here with these weights.

    python -m score_jax convert --config=configs/blended_diffusion/imagenet256.py --from=guided_diffusion \\
      256x256_diffusion_uncond.pt runs/blend256
    python -m score_jax edit --workdir=runs/blend256 --task=blend --image=dog.png --mask=mask.png \\
      --prompt="a red collar" --clip=ViT-B-16.pt
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import imagenet256_uncond
from score_jax.configs.blended_diffusion import shared


def get_config() -> ConfigDict:
    """The model of the ADM paper, another sampler."""
    return shared.edits(imagenet256_uncond.get_config())
