"""Configs of earlier versions."""

import dataclasses

from ml_collections import ConfigDict

from score_jax.builder.edit import EditOptions
from score_jax.builder.likelihood import LikelihoodOptions

_TRAINING = {
    "keep_every": 0,
    "checkpoints": "",
    "accumulate": 1,
    "fsdp": 1,
    "steps_per_dispatch": 1,
    "on_nonfinite": "stop",
}


def completed(config: ConfigDict) -> ConfigDict:
    """With the keys that it lacks, at their defaults; of linear_ve with the grid that now is its default, where its
    sampler has the old one, "uniform", which its few steps are too coarse for."""
    added = {
        "likelihood": dataclasses.asdict(LikelihoodOptions()),
        "training": _TRAINING,
        "edit": dataclasses.asdict(EditOptions()),
    }
    with config.unlocked():
        for section, values in added.items():
            if section not in config:
                config[section] = ConfigDict()
            for key, value in values.items():
                if key not in config[section]:
                    config[section][key] = value
        if config.process.name == "linear_ve" and config.sampler.get("grid") == "uniform":
            config.sampler.grid = "auto"
    return config
