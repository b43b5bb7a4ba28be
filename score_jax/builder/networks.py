"""The `network` section, and the `codec` section, whose x0 the network sees."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from score_jax.builder.codec_options import BlackAndWhite, NumberRange, PixelRange
from score_jax.builder.naming import choose, construct
from score_jax.builder.options import KERNELS, Values
from score_jax.builder.processes import build_process, kind_of
from score_jax.builder.sections import completed, made
from score_jax.codecs.bits import Bits
from score_jax.codecs.codec import Codec
from score_jax.codecs.numbers import Numbers
from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.conditioners import Conditioner, low_resolution
from score_jax.data.toys import swiss_roll
from score_jax.errors import InputError, unknown_name
from score_jax.models.blocks.adm_blocks import QKV_LAYOUTS
from score_jax.models.blocks.multiscale import MultiScaleNetwork
from score_jax.models.blocks.remat import REMAT_KINDS
from score_jax.models.blocks.schedule import WithSchedule
from score_jax.models.classifiers.adm_classifier import POOLS, ADMClassifier
from score_jax.models.classifiers.wide_resnet import WideResNet
from score_jax.models.network import Network
from score_jax.models.unets.adm import ADM
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.dpm2015 import BitMLP, NormalisedRBF
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnpp import NCSNpp
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.processes.learned import LearnedChain
from score_jax.processes.levels import NoiseLevels

NETWORKS: dict[str, Callable[..., Any]] = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "adm": ADM,
    "adm_classifier": ADMClassifier,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "wide_resnet": WideResNet,
    "edm_song": SongUNet,
    "edm_dhariwal": DhariwalUNet,
    "rbf": NormalisedRBF,
    "bit_mlp": BitMLP,
    "multiscale": MultiScaleNetwork,
}
FROM_OTHERS = ("centered", "levels")
"""Arguments that other sections say: the codec and the process."""
OF_KERNELS = ("rbf", "bit_mlp", "multiscale")
"""Networks that say what a reverse kernel is; the others predict noise, data or the score, or classify."""
CENTRES = {"normal": jax.nn.initializers.normal(1.0), "swiss_roll": lambda key, shape: swiss_roll(key, shape[0])}
"""From what the centres of basis functions are drawn."""
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: the type of parameters and input, float64 under x64.
CHOICES: dict[str, dict[str, Any]] = {"dtype": DTYPES, "centres": CENTRES}
"""Of arguments whose text stands for something, what."""
_COUNT = Values(least=1)
VALUES = {
    **dict.fromkeys(
        ("channels", "num_heads", "num_head_channels", "num_levels", "num_res_blocks", "channel_mult_emb"), _COUNT
    ),
    **dict.fromkeys(("fourier_scale", "channel_mult_noise"), Values(above=0.0)),
    **dict.fromkeys(("attention_resolutions", "augment_dim", "num_classes", "num_heads_upsample"), Values(least=0)),
    "channel_mult": Values(above=0.0, filled=True),
    **dict.fromkeys(("dropout", "label_dropout"), Values(least=0.0, below=1.0)),
    **dict.fromkeys(("fir_taps", "resample_filter"), Values(filled=True)),
    **dict.fromkeys(("blocks_per_group", "widen_factor"), _COUNT),
    **dict.fromkeys(("init_scale", "linear_scale"), Values(least=0.0)),
    "remat": Values(one_of=REMAT_KINDS),
    "pool": Values(one_of=POOLS),
    "qkv_layout": Values(one_of=tuple(QKV_LAYOUTS)),
    **dict.fromkeys(("units", "scales", "dense_outputs"), _COUNT),
    "bumps": Values(least=2),
    **dict.fromkeys(("width", "bump_width"), Values(above=0.0)),
    **dict.fromkeys(("features", "dense", "upper"), _COUNT),
}
"""Values that arguments of networks may have; those of other texts the networks check."""


_CODECS: dict[type, Callable[[Any], Codec]] = {
    PixelRange: lambda c: Pixels(*c.value_range),
    NumberRange: lambda c: Numbers(*c.value_range),
    BlackAndWhite: lambda c: Bits(c.threshold),
}
"""From the options of a codec to the codec."""


def codec_of(config: ConfigDict) -> Codec:
    """Builds the codec of the `codec` section.

    Raises:
      InputError: its name or a key is unknown, or a value is not possible.
    """
    options = made(config, "codec")
    return _CODECS[type(options)](options)


def conditioners_of(config: ConfigDict, network: Network, codec: Codec) -> Mapping[str, Conditioner]:
    """From a batch to those of the network's conditions that are no entry of it as they are.

    Raises:
      InputError: the network enlarges images, and the data do not say of which size, or the other way.
    """
    size = config.data.low_resolution
    if ("low_res" in network.conditions) != bool(size):
        raise InputError(
            f"data.low_resolution={size}, but the network has {'a' if not size else 'no'} condition 'low_res': a "
            "super-resolution model needs both, any other model neither."
        )
    return {"low_res": low_resolution(size, codec)} if size else {}


def build_network(config: ConfigDict) -> Network:
    """Builds the network of the `network` section, with what it takes from `data` and `process`.

    Raises:
      InputError: a name or a key is unknown or missing, a value is not possible, or the image size does not split into
        the network's levels.
    """
    config = completed(config)
    c, data, process = config.network.to_dict(), config.data, config.process
    shared: dict[str, Any] = {"centered": codec_of(config).centered}
    if process.get("name") == "ve_chain":
        build_process(config)  # so that a mistake in it is found now
        spacing, rounded = process.get("spacing", "geometric"), process.get("rounded", False)
        shared["levels"] = NoiseLevels(process.sigma_max, process.sigma_min, process.num_levels, spacing, rounded)
    takes = inspect.signature(choose("network.name", NETWORKS, c.get("name", "ncsnpp"))).parameters
    kernels = kind_of(process.get("name")) == KERNELS
    if "name" in c and kernels != (c["name"] in OF_KERNELS):
        possible = [name for name in NETWORKS if (name in OF_KERNELS) == kernels]
        raise unknown_name(f"network.name for process {process.get('name')!r}:", c["name"], possible)
    given = {key: value for key, value in shared.items() if key in takes}
    choices = {key: table for key, table in CHOICES.items() if key in takes or "name" not in c}
    module = construct("network", NETWORKS, c, VALUES, choices=choices, given=given)
    if c.get("num_levels") not in (None, process.get("num_levels", c.get("num_levels"))):
        raise InputError(
            f"network.num_levels={c['num_levels']} is not process.num_levels={process.num_levels}: make them the same."
        )
    halvings = len(getattr(module, "channel_mult", (1,))) - 1
    if data.image_size % 2**halvings:
        raise InputError(
            f"data.image_size={data.image_size} cannot be halved {halvings} times: make it a multiple of "
            f"{2**halvings}, or give network.channel_mult fewer levels."
        )
    return Network(_with_schedule(config, module), (data.image_size, data.image_size, data.channels))


def _with_schedule(config: ConfigDict, module: Any) -> Any:
    """The module, beside the schedule of the process where that is learned."""
    process = build_process(config)
    if not isinstance(process, LearnedChain) or not process.learned:
        return module
    return WithSchedule(module, lambda *_: process.logits, process.num_levels)
