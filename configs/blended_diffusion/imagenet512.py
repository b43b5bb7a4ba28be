"""Blended Diffusion with ADM on ImageNet 512 x 512: the edits of `imagenet256.py`, larger.

Of the released 512x512_diffusion.pt, which knows classes: each result has one, drawn at random (the published code
draws another at every step). Not run here with these weights.

    python -m score_jax convert --config=configs/blended_diffusion/imagenet512.py --from=guided_diffusion \\
      512x512_diffusion.pt runs/blend512
    python -m score_jax edit --workdir=runs/blend512 --task=blend --image=dog.png --mask=mask.png \\
      --prompt="a red collar" --clip=ViT-B-16.pt
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import imagenet512
from score_jax.configs.blended_diffusion import shared


def get_config() -> ConfigDict:
    """The model of the ADM paper, another sampler."""
    return shared.edits(imagenet512.get_config())
