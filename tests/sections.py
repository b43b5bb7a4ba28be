"""What sections of a config stand for, for a process, a network or predictions of the test's own."""

from score_jax.builder.learned import facts_of
from score_jax.builder.networks import codec_of, conditioners_of
from score_jax.builder.objective import build_loss
from score_jax.builder.sampling import Sampling, build_sampling
from score_jax.builder.sections import completed, made


def sampling_of(config, process, **given) -> Sampling:
    """How a model of this process is sampled."""
    config = completed(config)
    return build_sampling(made(config, "sampler"), facts_of(config, process, codec_of(config)), **given)


def loss_of(config, process, network, predict):
    """What training minimises."""
    config = completed(config)
    codec = codec_of(config)
    return build_loss(
        made(config, "loss"),
        facts_of(config, process, codec),
        network,
        predict,
        conditioners_of(config, network),
        dequantize=config.data.dequantize,
        sigma_data=config.prediction.get("sigma_data", 0.5),
    )
