"""LDM-4 on OpenImages at 256 x 256, by boxes; 246.3 M parameters and 54.7 M of the encoder.

Rombach et al. 2022, table 9: FID 32.02. Released as layout2img_model.zip. A layout is 92 tokens, three of each of 30
boxes (`score_jax.data.layouts`); it is written as the caption of its image. The learning rate is the effective one:
2e-6 times the batch of 24 on one device. Not run here yet.

    python -m score_jax train --config=configs/ldm/layout2img_openimages256.py --workdir=runs/layout2img \\
        --config.training.first_stage=runs/vq_f4 --config.data.tokenizer=boxes:classes.txt
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4, the absolute error, three blocks a transformer."""
    config = shared.published(
        "folder:openimages",
        "vq-f4",
        channels=128,
        channel_mult=(1, 2, 3, 4),
        attention_factors=(8, 4, 2),
        linear_end=0.0205,
        transformer_depth=3,
    )
    shared.with_text(config, vocabulary=8192, length=92, width=512, layers=16)
    config.loss.update(error="l1", condition_dropout=0.0)
    config.data.update(flip=False, max_tokens=92)
    shared.trained(config, batch_size=24, learning_rate=4.8e-5, steps=4_400_000)
    return config
