"""EDM on FFHQ at 64 x 64, unconditional, the DDPM++ architecture.

Karras et al. 2022, table 2: FID 2.39 (79 evaluations, deterministic). NVlabs/edm: edm-ffhq-64x64-uncond-vp.pkl. Not run
here yet.

    python -m score_jax train --config=configs/edm/ffhq_64_uncond_vp.py --workdir=runs/ffhq_64_uncond_vp
"""

from ml_collections import ConfigDict

from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """DDPM++ under EDM's preconditioning."""
    config = shared.faces("folder:ffhq_64")
    shared.ddpmpp(config)
    return config
