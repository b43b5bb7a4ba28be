"""What the configs of Stable Diffusion share (CompVis/stable-diffusion, Stability-AI/stablediffusion, yaml files).

Latents of KL-f8, T = 1000, a text encoder that is not trained. `convert` writes configs of the same sections.
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm.shared import published

SCALE = 0.18215
"""Of the latents."""
CLIP_TEXT = {
    "name": "clip_text",
    "vocabulary": 49408,
    "length": 77,
    "width": 768,
    "layers": 12,
    "heads": 12,
    "activation": "quick_gelu",
    "skip_last": 0,
    "dtype": "float32",
}
"""The text encoder of version 1: CLIP ViT-L/14."""
OPENCLIP_TEXT = CLIP_TEXT | {"width": 1024, "layers": 24, "heads": 16, "activation": "gelu", "skip_last": 1}
"""That of version 2: OpenCLIP ViT-H/14, whose last layer is left out."""


def _model(image_size: int, guidance_scale: float, encoder: dict, **network: object) -> ConfigDict:
    config = published(
        "folder:laion_aesthetics",
        "kl-f8",
        channels=320,
        channel_mult=(1, 2, 4, 4),
        attention_factors=(4, 2, 1),
        linear_start=0.00085,
        linear_end=0.012,
        scale=SCALE,
        image_size=image_size,
        dtype="float32",
        context_width=encoder["width"],
        context_length=encoder["length"],
        **network,
    )
    with config.unlocked():
        config.condition_encoder = ConfigDict(encoder)
    config.data.update(tokenizer="clip" if encoder is CLIP_TEXT else "open_clip", max_tokens=encoder["length"])
    config.loss.condition_dropout = 0.1
    config.optimizer.update(learning_rate=1e-4, warmup_steps=10_000)
    config.training.batch_size = 2048
    config.sampler.num_steps = 50
    config.sampling.update(num_samples=4, batch_size=4)
    config.guidance.scale = guidance_scale
    return config


def version_1() -> ConfigDict:
    """512 x 512 pixels, 8 heads at each level, CLIP's tokens; eps."""
    return _model(512, 7.5, CLIP_TEXT, num_head_channels=None, linear_projection=False)


def version_2(image_size: int, output: str) -> ConfigDict:
    """Heads of 64 channels, OpenCLIP's tokens; `output`: eps or v, whose error is minimised."""
    config = _model(image_size, 9.0, OPENCLIP_TEXT, num_head_channels=64, linear_projection=True)
    config.prediction.output = config.loss.weighting = output
    return config
