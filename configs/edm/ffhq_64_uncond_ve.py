"""EDM on FFHQ at 64 x 64, unconditional, the NCSN++ architecture.

Karras et al. 2022, table 2: FID 2.53 (79 evaluations, deterministic). NVlabs/edm: edm-ffhq-64x64-uncond-ve.pkl. Not run
here yet.

    python -m score_jax train --config=configs/edm/ffhq_64_uncond_ve.py --workdir=runs/ffhq_64_uncond_ve
"""

from ml_collections import ConfigDict

from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """NCSN++ under EDM's preconditioning."""
    config = shared.faces("folder:ffhq_64")
    shared.ncsnpp(config)
    return config
