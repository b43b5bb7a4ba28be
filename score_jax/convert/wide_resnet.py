"""Names of score_sde's noise-conditional classifier: `WideResnetGroup_0/WideResnetBlock_0/conv1/...`."""

from score_jax.convert.correspondence import Counterpart, Path

_MODULES = {
    "fourier": "GaussianFourierProjection_0",
    "embedding_1": "Dense_0",
    "embedding_2": "Dense_1",
    "conv_in": "init_conv",
    "norm_out": "pre-pool-bn",
    "out": "Dense_2",
}
_BLOCK = {"norm_1": "init_bn", "conv_1": "conv1", "embedding": "Dense_0", "norm_2": "bn_2", "conv_2": "conv2"}


def table(path: Path) -> Counterpart:
    """The tensor of a parameter of `models.wide_resnet.WideResNet`: a Flax release, its layouts are ours."""
    module, *layers, leaf = path
    match module.split("_"):
        case ["group", group, "block", i]:
            words = [f"WideResnetGroup_{group}", f"WideResnetBlock_{i}", _BLOCK[layers[0]]]
        case _:
            words = [_MODULES[module]]
    return Counterpart("/".join([*words, leaf]))
