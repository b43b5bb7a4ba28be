"""Stable Diffusion 2 and 2.1 at 768 x 768, by text; 865.9 M parameters, 340.4 M of OpenCLIP's text encoder.

The network outputs v, fine-tuned from that of v2_base. How long it was trained is not in the code.

    python -m score_jax convert --from=stable_diffusion --prediction=v v2-1_768-ema-pruned.ckpt --workdir=runs/sd2
"""

from ml_collections import ConfigDict

from score_jax.configs.stable_diffusion import shared


def get_config() -> ConfigDict:
    """Version 2 of 768 pixels."""
    return shared.version_2(768, "v")
