"""The noise-conditional classifier of CIFAR-10 that guides class-conditional sampling; Wide ResNet 28-10, 38.9 M.

Song et al. 2021, section 5 and appendix I. The original's training code is not published; the config serves the network
and its weights.

    python -m score_jax convert --from=score_sde --config=configs/score_sde/ve/cifar10_classifier.py CHECKPOINT OUT
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """The classifier is told sigma of NCSN++'s process."""
    config = shared.cifar10()
    shared.ncsnpp_ve(config, sigma_max=50.0)
    base.replace_section(config, "network", name="wide_resnet", num_classes=10, dtype="float32")
    return config
