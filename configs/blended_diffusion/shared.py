"""What the configs of Avrahami et al. 2022 share: how an edit samples a model of the ADM paper."""

from ml_collections import ConfigDict


def edits(config: ConfigDict) -> ConfigDict:
    """100 of the levels, x0 not clipped; 32 results, four at a time, of which the best are shown first."""
    config.sampler.update(respacing="100", threshold="none")
    config.sampling.update(num_samples=32, batch_size=4)
    return config
