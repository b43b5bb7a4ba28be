"""LDM-4 on Conceptual Captions at 256 x 256, by text; 403.6 M parameters and 166.6 M of the text encoder.

CompVis/latent-diffusion, text2img.zip: FID 16.79 with 100 steps of DDIM. The learning rate is the effective one: 2e-6
times the batch of 28 on one device; the number of steps, which is not
published, is that of text2img_1p4b. Not run here yet.

    python -m score_jax train --config=configs/ldm/text2img256.py --workdir=runs/text2img256 \\
        --config.training.first_stage=runs/vq_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4, 77 tokens through 32 layers."""
    config = shared.published(
        "folder:conceptual_captions",
        "vq-f4",
        channels=192,
        channel_mult=(1, 2, 3, 5),
        attention_factors=(8, 4, 2),
    )
    shared.with_text(config, vocabulary=30522, length=77, width=640, layers=32)
    shared.trained(config, batch_size=28, learning_rate=5.6e-5, steps=390_000)
    config.sampler.num_steps = 100
    return config
