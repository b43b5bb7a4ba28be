"""unCLIP's own CLIP: a ViT-H/16 at 256 pixels and a transformer of texts, trained with SAM (Ramesh et al. 2022).

Data: a folder of images with captions; the paper's 650 M pairs are not public. No weights of the paper exist.
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import of_pairs


def get_config() -> ConfigDict:
    """Heads have 64 channels in texts and 80 in images, as in other ViT-H; the paper states neither."""
    config = of_pairs(
        "folder:images",
        "clip",
        256,
        features=1024,
        patch=16,
        width=1280,
        layers=32,
        heads=16,
        vocabulary=49408,
        length=256,
        text_width=1024,
        text_layers=24,
        text_heads=16,
        text_pool="largest",
    )
    config.data.update(image_size=256, resize_filter="bicubic")
    config.optimizer.update(name="adamw", learning_rate=3e-4, b2=0.98, eps=1e-6, weight_decay=0.2, decayed="matrices")
    config.optimizer.update(sam_rho=0.1, warmup_steps=2000, decay="cosine")
    config.training.update(batch_size=32768, steps=500_000)
    return config
