"""The `loss` section of autoencoders: the options of their objective."""

import dataclasses
from typing import ClassVar

from score_jax.builder.options import Options, count, option

PIXEL_LOSSES = ("l1", "l2")
ADVERSARIES = ("hinge", "vanilla")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstStageOptions(Options):
    """An autoencoder for latent diffusion: reconstruction, a regulariser, and a patch discriminator that learns to
    tell reconstructions from images (Esser et al. 2021; Rombach et al. 2022, appendix G)."""

    SECTION: ClassVar[str] = "loss"
    pixels: str = option("l1", "the error of a pixel, absolute or squared", one_of=PIXEL_LOSSES)
    perceptual_weight: float = option(1.0, "factor of LPIPS; 0: it is not needed", least=0.0)
    lpips_vgg: str = option("", "file of VGG16's weights, for LPIPS")
    lpips_heads: str = option("", "file of LPIPS's weights")
    log_var: float = option(0.0, "log of the variance by which autoencoder_kl divides the reconstruction error")
    kl_weight: float = option(1e-6, "factor of the divergence of autoencoder_kl from the standard normal", least=0.0)
    codebook_weight: float = option(1.0, "factor of the quantisation loss of autoencoder_vq", least=0.0)
    beta: float = option(0.25, "factor within the quantisation loss of autoencoder_vq", least=0.0)
    legacy_beta: bool = option(
        True, "beta weighs the term that moves the codebook, as in all published models, not the term of the encoder"
    )
    adversary: str = option("hinge", "loss of the discriminator", one_of=ADVERSARIES)
    adversarial_weight: float = option(1.0, "factor of the adaptive weight of the discriminator; 0: none", least=0.0)
    adversarial_factor: float = option(1.0, "factor of both adversarial losses from adversarial_start on", least=0.0)
    adversarial_start: int = count(0, "step at which the discriminator begins to train and to count", least=0)
    discriminator_channels: int = count(64, "channels of the discriminator's first convolution")
    discriminator_layers: int = count(3, "convolutions of the discriminator between its first and its last")
