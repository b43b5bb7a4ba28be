"""Text to image on two CPU cores: captioned_shapes in the latents of a first stage, its text encoder trained jointly.

python -m score_jax encode --workdir=runs/shapes_first_stage --out=runs/shapes_latents
python -m score_jax train --config=configs/ldm/shapes_text.py --workdir=runs/shapes_text \\
    --config.training.first_stage=runs/shapes_first_stage --config.training.latents=runs/shapes_latents
python -m score_jax sample --workdir=runs/shapes_text --prompt="a small red circle on the left of a white background" \\
    --guidance.scale=3
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.ldm import shapes_first_stage
from score_jax.configs.ldm.shared import latent_model


def get_config() -> ConfigDict:
    """1.8 M parameters: a UNet of three levels, a text transformer of three blocks; a tenth of captions is left out."""
    config = latent_model(shapes_first_stage.get_config(), linear_start=0.0015, linear_end=0.0195)
    config.data.update(tokenizer="words", max_tokens=12)
    base.replace_section(
        config,
        "network",
        name="latent_unet",
        channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_factors=(2, 4),
        num_head_channels=16,
        norm_groups=8,
        context_width=64,
        context_length=12,
        remat=(),
        dtype="float32",
    )
    with config.unlocked():
        config.condition_encoder = ConfigDict(
            {
                "name": "text_transformer",
                "vocabulary": 30,
                "length": 12,
                "width": 64,
                "layers": 3,
                "heads": 4,
                "head_width": 16,
            }
        )
    config.prediction.output = "v"
    # Colour and place are decided at much noise, where errors of eps count for nothing and those of v do.
    config.loss.update(weighting="v", condition_dropout=0.1)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.ema.update(decay=0.998, warmup=True)
    config.training.update(batch_size=32, steps=8000, log_every=50, checkpoint_every=500, keep=2)
    config.sampler.num_steps = 25
    config.evaluation.update(num_samples=960, batch_size=64)
    return config
