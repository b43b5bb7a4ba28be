"""RDM at 768 x 768, by CLIP's features of a text and of neighbours; 1335.5 M parameters.

Blattmann et al. 2022, as CompVis/latent-diffusion has it. The condition `context` of a batch has up to 21 tokens of 768
channels: CLIP ViT-L/14's normalised features of the text, then of its neighbours. How it was trained is not in the
code: batch and rate are ours. Not run here yet.

    python -m score_jax train --config=configs/ldm/rdm768.py --workdir=runs/rdm768 \\
        --config.training.first_stage=runs/kl_f16 --config.data.embeddings=features
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of KL-f16 of 48 x 48 x 16."""
    config = shared.published(
        "folder:laion",
        "kl-f16",
        channels=448,
        channel_mult=(1, 2, 3, 4),
        attention_factors=(4, 2, 1),
        linear_end=0.015,
        scale=0.22765929,
        image_size=768,
        context_width=768,
        context_length=21,
    )
    config.optimizer.learning_rate = 1e-4
    config.sampler.num_steps = 50
    return config
