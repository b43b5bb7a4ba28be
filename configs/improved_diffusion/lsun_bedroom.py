"""Improved DDPM on LSUN bedroom at 256 x 256, learning rate 1e-4; 113.7 M parameters.

Released as lsun_uncond_100M_1200K_bs128.pt; the ADM paper measured FID 4.24 for improved DDPM on this data. Not run
here yet.

    python -m score_jax train --config=configs/improved_diffusion/lsun_bedroom.py --workdir=runs/lsun_bedroom
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import shared


def get_config() -> ConfigDict:
    """One head, added time embedding, 1000 levels of linear beta."""
    config = shared.improved("lsun/bedroom", 256)
    config.network.update(
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_resolutions=(16,),
        num_heads=1,
        scale_shift_norm=False,
    )
    config.process.update(schedule="linear", num_levels=1000)
    config.prediction.label = "index"
    config.loss.vb_scale = 1.0
    config.sampler.num_steps = 1000
    config.optimizer.learning_rate = 1e-4
    config.training.update(batch_size=128, steps=1_200_001)
    return config
