"""EDM on AFHQv2 at 64 x 64, unconditional, the DDPM++ architecture.

Karras et al. 2022, table 2: FID 1.96 (79 evaluations, deterministic). NVlabs/edm: edm-afhqv2-64x64-uncond-vp.pkl. Not
run here yet.

    python -m score_jax train --config=configs/edm/afhqv2_64_uncond_vp.py --workdir=runs/afhqv2_64_uncond_vp
"""

from ml_collections import ConfigDict

from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """DDPM++ under EDM's preconditioning."""
    config = shared.faces("folder:afhqv2_64")
    shared.ddpmpp(config)
    config.network.dropout = 0.25
    return config
