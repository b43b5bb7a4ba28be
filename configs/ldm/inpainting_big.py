"""LDM-4 on Places at 256 x 256, inpainting; 387.2 M parameters.

Rombach et al. 2022, table 7: FID 1.50 of 512 x 512 crops after fine-tuning. Released as inpainting_big/last.ckpt.
data.holes: channels 4 to 7 of the input are the latent of the image whose hole is black (not scaled), then the mask
(-1: known, 1: hole). Batch, largest learning rate and steps are the paper's, its course the original's:
1000 steps up, then down as a cosine until step 50,000. Not run here yet.

    python -m score_jax train --config=configs/ldm/inpainting_big.py --workdir=runs/inpainting_big \\
        --config.training.first_stage=runs/vq_f4_noattn
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4 without attention, the absolute error, 8 heads at each level."""
    config = shared.published(
        "folder:places",
        "vq-f4-noattn",
        channels=256,
        channel_mult=(1, 2, 3, 4),
        attention_factors=(8, 4, 2),
        linear_end=0.0205,
        num_head_channels=None,
        resblock_updown=True,
        concat_channels=4,
    )
    config.data.holes = "latent_diffusion"
    config.loss.error = "l1"
    config.optimizer.update(warmup_steps=1000, decay="cosine", decay_steps=50_000, first=0.01, last=0.001)
    shared.trained(config, batch_size=128, learning_rate=1e-6, steps=360_000)
    config.sampler.num_steps = 50
    return config
