"""LDM-8 on LAION-400M at 256 x 256, by text; 872.3 M parameters and 542.9 M of the text encoder.

Rombach et al. 2022, table 2: FID 12.63 of MS-COCO with 250 steps of DDIM and guidance of 1.5. Released as
txt2img-f8-large/model.ckpt, raw weights alone. The tokens are those of bert-base-uncased. Not run here yet.

    python -m score_jax train --config=configs/ldm/text2img_1p4b.py --workdir=runs/text2img_1p4b \\
        --config.training.first_stage=runs/kl_f8
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of KL-f8, 8 heads at each level, 77 tokens through 32 layers."""
    config = shared.published(
        "folder:laion400m",
        "kl-f8",
        channels=320,
        channel_mult=(1, 2, 4, 4),
        attention_factors=(4, 2, 1),
        linear_start=0.00085,
        linear_end=0.012,
        scale=0.18215,
        num_head_channels=None,
    )
    shared.with_text(config, vocabulary=30522, length=77, width=1280, layers=32)
    shared.trained(config, batch_size=680, learning_rate=1e-4, steps=390_000)
    config.sampler.num_steps = 50
    config.guidance.scale = 5.0
    return config
