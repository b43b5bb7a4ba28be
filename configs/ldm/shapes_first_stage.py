"""An autoencoder of captioned_shapes on two CPU cores: 32 x 32 RGB to latents of 8 x 8 x 4, for ldm/shapes_text.py.

python -m score_jax train --config=configs/ldm/shapes_first_stage.py --workdir=runs/shapes_first_stage
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.ldm.shared import first_stage


def get_config() -> ConfigDict:
    """0.7 M parameters of KL-f4's kind, trained on squared errors alone: the shapes have no textures to make up.

    With the published weight of the divergence, 1e-6, what tells a small cross from a circle has a tenth of the
    latents' standard deviation: a diffusion model sees that at little noise alone, and draws blobs. With 1e-3 the
    decoder still sees it under noise of half their standard deviation.
    """
    config = first_stage("kl-f4")
    base.set_data(config, "captioned_shapes")
    config.data.image_size = 32
    config.network.update(channels=32, channel_mult=(1, 1, 2), num_res_blocks=1, norm_groups=8)
    config.network.update(latent_channels=4, embed_channels=4)
    config.loss.update(pixels="l2", perceptual_weight=0.0, adversarial_weight=0.0, kl_weight=1e-3)
    config.optimizer.update(learning_rate=2e-3, b1=0.9, b2=0.99, warmup_steps=50, decay="cosine")
    config.training.update(batch_size=16, steps=5000, log_every=20, checkpoint_every=500, keep=2)
    return config
