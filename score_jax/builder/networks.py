"""The `network` section, and the `codec` section, whose x0 the network sees."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from score_jax.builder.codec_options import BlackAndWhite, EmbeddingOptions, LatentOptions, NumberRange, PixelRange
from score_jax.builder.naming import choose, construct
from score_jax.builder.options import KERNELS, Values
from score_jax.builder.processes import NONE, build_process, kind_of
from score_jax.builder.sections import completed, made
from score_jax.codecs.bits import Bits
from score_jax.codecs.codec import Codec
from score_jax.codecs.embeddings import CLIP, ImageEmbeddings
from score_jax.codecs.latents import Latents
from score_jax.codecs.numbers import Numbers
from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.channels import HOLES, enlarged
from score_jax.conditioning.conditioners import Conditioner, low_resolution, one_hot
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING, of_clip
from score_jax.data.text_tokenizers import ClipTokens, TextTokenizer, text_tokenizer
from score_jax.data.toys import swiss_roll
from score_jax.errors import InputError, entry_of, unknown_name
from score_jax.models.autoencoders.autoencoder import AutoencoderKL, AutoencoderVQ
from score_jax.models.autoencoders.first_stage import FirstStage
from score_jax.models.blocks.adm_blocks import QKV_LAYOUTS
from score_jax.models.blocks.multiscale import MultiScaleNetwork
from score_jax.models.blocks.remat import REMAT_KINDS
from score_jax.models.blocks.schedule import WithSchedule
from score_jax.models.classifiers.adm_classifier import POOLS, ADMClassifier
from score_jax.models.classifiers.wide_resnet import WideResNet
from score_jax.models.clip.clip import POOLS as TEXT_POOLS
from score_jax.models.clip.image_text import ImageText, clip
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import SpatialRescaler
from score_jax.models.conditions import TOKENS, DeclaredConditions, declared, of_text, token_ids
from score_jax.models.network import Encoder, Network
from score_jax.models.priors.dalle2 import Dalle2Prior
from score_jax.models.priors.prior_transformer import PriorTransformer
from score_jax.models.text.bert import TextTransformer
from score_jax.models.text.clip_features import ClipFeatures
from score_jax.models.text.clip_text import CLIPText
from score_jax.models.unets.adm import ADM, LOW_RES_FILTERS
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.dpm2015 import BitMLP, NormalisedRBF
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.models.unets.karlo_upsampler import KarloUpsampler
from score_jax.models.unets.latent import LatentUNet
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnpp import NCSNpp
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.models.unets.unclip import UnCLIPDecoder
from score_jax.processes.learned import LearnedChain
from score_jax.processes.levels import NoiseLevels
from score_jax.tiles import check_tiles

AUTOENCODERS = {"autoencoder_kl": AutoencoderKL, "autoencoder_vq": AutoencoderVQ}
"""First stages, which are trained without a process."""
WITHOUT_PROCESS = (*AUTOENCODERS, CLIP)
"""Those, and the network of images and texts."""
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
    "latent_unet": LatentUNet,
    "prior_transformer": PriorTransformer,
    "dalle2_prior": Dalle2Prior,
    "unclip_decoder": UnCLIPDecoder,
    "karlo_upsampler": KarloUpsampler,
    **AUTOENCODERS,
    CLIP: clip,
}
FROM_OTHERS = ("centered", "levels", "image_size")
"""Arguments that other sections say: the codec, the process and the data."""
ENCODERS: dict[str, Callable[..., Any]] = {
    "class_embedding": ClassEmbedder,
    "text_transformer": TextTransformer,
    "clip_text": CLIPText,
    "rescaler": SpatialRescaler,
}
"""Networks that make a condition of another network, for the section `condition_encoder`."""
NOT_TRAINED = ("clip_text",)
"""Those of `ENCODERS` whose published weights are kept as they are."""
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
    "low_res_filter": Values(one_of=tuple(LOW_RES_FILTERS)),
    **dict.fromkeys(("units", "scales", "dense_outputs", "norm_groups"), _COUNT),
    **dict.fromkeys(("latent_channels", "embed_channels", "image_channels", "codebook_size", "out_channels"), _COUNT),
    **dict.fromkeys(("context_length", "transformer_depth"), _COUNT),
    **dict.fromkeys(("vocabulary", "length", "layers", "heads", "head_width"), _COUNT),
    **dict.fromkeys(("attention_factors", "stages"), _COUNT),
    **dict.fromkeys(("context_width", "concat_channels", "text_length"), Values(least=0)),
    **dict.fromkeys(("image_features", "extra_tokens", "text_features"), Values(least=0)),
    **dict.fromkeys(("num_timesteps", "time_tokens", "image_tokens", "text_tokens", "mlp_ratio"), _COUNT),
    "bumps": Values(least=2),
    **dict.fromkeys(("width", "bump_width"), Values(above=0.0)),
    **dict.fromkeys(("features", "dense", "upper"), _COUNT),
    "stem": Values(least=0),
    **dict.fromkeys(("image_size", "patch", "text_width", "text_layers", "text_heads"), _COUNT),
    "text_pool": Values(one_of=tuple(TEXT_POOLS)),
}
"""Values that arguments of networks may have; those of other texts the networks check."""


_CODECS: dict[type, Callable[[Any], Codec]] = {
    PixelRange: lambda c: Pixels(*c.value_range),
    NumberRange: lambda c: Numbers(*c.value_range),
    BlackAndWhite: lambda c: Bits(c.threshold),
}
"""From the options of a codec to the codec."""


def data_shape(config: ConfigDict) -> tuple[int, int, int]:
    """Returns the shape (h, w, c) of an example of the data."""
    return config.data.image_size, config.data.image_size, config.data.channels


def codec_of(config: ConfigDict) -> Codec:
    """Builds the codec of the `codec` section, and of the section `first_stage` where it is of latents.

    Raises:
      InputError: its name or a key is unknown, or a value is not possible.
    """
    options = made(config, "codec")
    if isinstance(options, LatentOptions):
        check_tiles("codec", options.tile, options.overlap)
        return Latents(
            _first_stage(config),
            options.scale or 1.0,
            slices=options.slices,
            tile=options.tile,
            overlap=options.overlap,
        )
    if "first_stage" in config:
        raise InputError("The section first_stage is not read by this codec: give codec.name=latents, or leave it out.")
    if isinstance(options, EmbeddingOptions):
        clip = _needed_clip(config, "codec.name=embeddings")
        if shown_size(config):
            raise InputError(
                f"data.image_size={config.data.image_size}, but the CLIP sees images of {shown_size(config)}: give "
                "that."
            )
        return ImageEmbeddings(clip)
    return _CODECS[type(options)](options)


def clip_of(config: ConfigDict) -> ImageText | None:
    """Builds the CLIP of the section `clip`, which is not trained; None: there is no such section.

    Raises:
      InputError: a key is unknown, a value is not possible, or it sees images of another size than the data's.
    """
    if CLIP not in config:
        return None
    values = {"image_size": config.data.image_size} | config.clip.to_dict()
    module = construct(CLIP, {CLIP: clip}, values, VALUES)
    return _image_text(config, CLIP, module)


def _needed_clip(config: ConfigDict, by: str) -> ImageText:
    """The CLIP of the section `clip`.

    Raises:
      InputError: there is no such section, and `by` needs it.
    """
    found = clip_of(config)
    if found is None:
        raise InputError(f"{by} needs the section clip: give the section network of its CLIP.")
    return found


def shown_size(config: ConfigDict) -> int:
    """The size at which a CLIP sees each image of the data beside the model, which sees it smaller; 0: the same."""
    size = config[CLIP].get("image_size", 0) if CLIP in config else 0
    return size if size != config.data.image_size else 0


def _first_stage(config: ConfigDict) -> FirstStage:
    if "first_stage" not in config:
        raise InputError(
            "codec.name=latents needs the section first_stage: give the section network of its autoencoder."
        )
    module = construct("first_stage", AUTOENCODERS, config.first_stage.to_dict(), VALUES, choices={"dtype": DTYPES})
    return FirstStage(module, _halved(config, "first_stage", module))


def _halved(config: ConfigDict, section: str, module: Any) -> tuple[int, int, int]:
    """The shape of the data, which an autoencoder halves as often as it has levels but one.

    Raises:
      InputError: it cannot, or makes images of other channels.
    """
    if module.image_channels != config.data.channels:
        raise InputError(
            f"{section}.image_channels={module.image_channels}, but data.channels={config.data.channels}: make them "
            "the same."
        )
    size, halvings = config.data.image_size, len(module.channel_mult) - 1
    if size % 2**halvings:
        raise InputError(
            f"data.image_size={size} cannot be halved {halvings} times: make it a multiple of {2**halvings}, or give "
            f"{section}.channel_mult fewer levels."
        )
    return data_shape(config)


def conditioners_of(config: ConfigDict, network: Network | FirstStage) -> Mapping[str, Conditioner]:
    """From a batch to those of the network's conditions that are no entry of it as they are.

    Raises:
      InputError: the network enlarges images, and the data do not say of which size, or the other way.
    """
    size, holes = config.data.low_resolution, config.data.holes
    joined = "concat" in network.conditions
    if not joined and ("low_res" in network.conditions) != bool(size):
        raise InputError(
            f"data.low_resolution={size}, but the network has {'a' if not size else 'no'} condition 'low_res': a "
            "super-resolution model needs both, any other model neither."
        )
    if holes and (size or not joined):
        raise InputError(
            f"data.holes={holes} is for a network of latents with network.concat_channels, and data.low_resolution=0: "
            "give both, or leave it out."
        )
    channels = getattr(getattr(network, "module", None), "concat_channels", 0)
    wanted = network.image_shape[2] + 1 if holes else config.data.channels
    if (holes or (size and joined)) and channels != wanted:
        raise InputError(
            f"network.concat_channels={channels}, but data.{'holes' if holes else 'low_resolution'} gives {wanted}: "
            "make them the same."
        )
    made: dict[str, Conditioner] = {}
    if "segmentation" in network.conditions:
        made["segmentation"] = one_hot("segmentation", network.conditions["segmentation"].shape[-1])
    if holes:
        made["concat"] = entry_of(HOLES, "data.holes", holes)(network.image_shape[:2])
    elif size and joined:
        made["concat"] = enlarged(size, config.data.degradation, network.image_shape[:2])
    elif size:
        made["low_res"] = low_resolution(size, config.data.degradation)
    if IMAGE_EMBEDDING in network.conditions:
        made[IMAGE_EMBEDDING] = of_clip(_clip_of_decoder(config, network.conditions[IMAGE_EMBEDDING].shape[0]))
    return made


def _clip_of_decoder(config: ConfigDict, features: int) -> ImageText:
    """The CLIP whose embeddings a decoder takes.

    Raises:
      InputError: the config has none, or its embeddings have another length.
    """
    clip = _needed_clip(config, "network.name=unclip_decoder")
    if clip.features != features:
        raise InputError(f"network.image_features={features}, but clip.features={clip.features}: make them the same.")
    return clip


def _encoder(config: ConfigDict, shape: tuple[int, int, int]) -> Encoder | None:
    """The encoder of the section `condition_encoder`, if there is one, for x of this shape."""
    if "condition_encoder" not in config:
        return None
    values = config.condition_encoder.to_dict()
    if values.get("name") == CLIP:
        return _clip_encoder(config, values)
    module = construct("condition_encoder", ENCODERS, values, VALUES, choices={"dtype": DTYPES})
    raw = module.conditions(shape)
    if not raw:
        raise InputError("condition_encoder.num_classes=0: give the number of classes, at least 1.")
    tokenizer = text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    if TOKENS in raw and tokenizer is not None:
        sizes = {"vocabulary": module.vocabulary, "length": module.length}
        _check_tokenizer(config, "condition_encoder", sizes, tokenizer)
        raw = _texts_by(tokenizer)
    return Encoder(module, raw, values["name"] not in NOT_TRAINED)


def _texts_by(tokenizer: TextTokenizer) -> DeclaredConditions:
    """Texts as a tokenizer writes them; the empty one stands for none."""
    return {TOKENS: dataclasses.replace(token_ids(tokenizer.length)[TOKENS], null=tokenizer.encode(""))}


def _clip_encoder(config: ConfigDict, values: Mapping[str, Any]) -> Encoder:
    """The encoder of texts of the section `clip`."""
    found = _needed_clip(config, "condition_encoder.name=clip")
    for key in values:
        if key != "name":
            raise unknown_name("key of condition_encoder:", key, ("name",))
    module, tokenizer = ClipFeatures(found), text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    assert tokenizer is not None, "a CLIP has been refused without one"
    return Encoder(module, _texts_by(tokenizer), trained=False, frozen_as=CLIP)


def _check_tokenizer(config: ConfigDict, section: str, sizes: Mapping[str, int], tokenizer: TextTokenizer) -> None:
    """Raises InputError where texts have ids or a length that a network of texts does not know."""
    for what, theirs, key in (
        ("ids", tokenizer.vocabulary_size, "vocabulary"),
        ("tokens a text", tokenizer.length, "length"),
    ):
        if theirs > sizes[key]:
            raise InputError(
                f"data.tokenizer={config.data.tokenizer} has {theirs} {what}, but {section}.{key}={sizes[key]}: give "
                f"{_OF_TEXTS[section]} as many, or data.max_tokens fewer."
            )


_OF_TEXTS = {"condition_encoder": "the encoder", "network": "the network", CLIP: "the CLIP"}


def _image_text(config: ConfigDict, section: str, module: Any) -> ImageText:
    """The CLIP of a section, for the config's data.

    Raises:
      InputError: the data are not coloured, or their texts are not what it reads.
    """
    if config.data.channels != 3:
        raise InputError(f"data.channels={config.data.channels}, but a CLIP sees red, green and blue: give 3.")
    tokenizer = text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    if tokenizer is None:
        raise InputError("data.tokenizer is missing: a CLIP is trained on captions, so give one, such as clip.")
    _check_tokenizer(config, section, config[section].to_dict(), tokenizer)
    if module.text.pool == "largest" and not isinstance(tokenizer, ClipTokens):
        raise InputError(
            f"{section}.text_pool=largest reads the end of a text that data.tokenizer={config.data.tokenizer} does not "
            f"write: give {section}.text_pool=last."
        )
    if module.vision is None:
        size = config[section].get("image_size", config.data.image_size)
    else:
        size = module.vision.image_size
    return ImageText(module, (size, size, 3))


def build_network(config: ConfigDict) -> Network | FirstStage | ImageText:
    """Builds the network of the section `network`, with what it takes from other sections.

    Raises:
      InputError: a name or a key is unknown or missing, a value is not possible, or the image size does not split into
        the network's levels.
    """
    config = completed(config)
    c, process = config.network.to_dict(), config.process
    codec = codec_of(config)
    shared: dict[str, Any] = {"centered": codec.centered, "image_size": config.data.image_size}
    if process.get("name") == "ve_chain":
        build_process(config)  # so that a mistake in it is found now
        spacing, rounded = process.get("spacing", "geometric"), process.get("rounded", False)
        shared["levels"] = NoiseLevels(process.sigma_max, process.sigma_min, process.num_levels, spacing, rounded)
    takes = inspect.signature(choose("network.name", NETWORKS, c.get("name", "ncsnpp"))).parameters
    if "name" in c:
        _check_kind(c["name"], process.get("name"))
    given = {key: value for key, value in shared.items() if key in takes}
    choices = {key: table for key, table in CHOICES.items() if key in takes or "name" not in c}
    module = construct("network", NETWORKS, c, VALUES, choices=choices, given=given)
    if c.get("num_levels") not in (None, process.get("num_levels", c.get("num_levels"))):
        raise InputError(
            f"network.num_levels={c['num_levels']} is not process.num_levels={process.num_levels}: make them the same."
        )
    if c["name"] in WITHOUT_PROCESS:
        if "condition_encoder" in config:
            what = "a CLIP" if c["name"] == CLIP else "an autoencoder"
            raise InputError(f"The section condition_encoder is not read by {what}: leave it out.")
        if c["name"] == CLIP:
            if module.vision is None:
                raise InputError("network.patch is missing: network.name='clip' needs it for its network of images.")
            return _image_text(config, "network", module)
        return FirstStage(module, _halved(config, "network", module))
    shape = codec.shape(data_shape(config))
    halvings = len(getattr(module, "channel_mult", (1,))) - 1
    if shape[0] % 2**halvings:
        of = f"data.image_size={config.data.image_size}"
        latent = "" if shape[0] == config.data.image_size else f" has latents of {shape[0]} x {shape[1]}, which"
        raise InputError(
            f"{of}{latent} cannot be halved {halvings} times: make it a multiple of "
            f"{2**halvings * config.data.image_size // shape[0]}, or give network.channel_mult fewer levels."
        )
    encoder = _encoder(config, shape)
    if encoder is not None:
        _check_made(module, encoder, shape)
    return Network(_with_schedule(config, module), shape, encoder)


def _check_made(module: Any, encoder: Encoder, shape: tuple[int, int, int]) -> None:
    """Raises InputError where an encoder does not make what the network takes, or both are given the same."""
    if isinstance(encoder.module, ClipFeatures):
        _check_text_of_clip(declared(module, shape), encoder.module.clip)
        return
    makes, channels = encoder.module.makes, {"context": "context_width", "concat": "concat_channels"}
    key = channels[makes]
    takes, made = getattr(module, key, None) or 0, getattr(encoder.module, "width", None)
    if made is None:
        made = encoder.module.out_channels or encoder.module.in_channels
    if takes != made:
        raise InputError(
            f"network.{key}={takes}, but condition_encoder makes a {makes} of {made} channels: make them the same."
        )
    if encoder.takes == "label" and getattr(module, "num_classes", None):
        raise InputError(
            "network.num_classes and condition_encoder.name=class_embedding both take the class: give one of them."
        )


def _check_text_of_clip(taken: DeclaredConditions, clip: ImageText) -> None:
    """Raises InputError where a network takes other texts than a CLIP makes."""
    text = clip.module.text
    for name, said in of_text(text.context, text.width, text.features).items():
        if name not in taken:
            raise InputError(
                f"condition_encoder.name=clip makes {name}, which this network does not take: leave it out."
            )
        if taken[name].shape != said.shape:
            raise InputError(
                f"This network's condition {name} has the shape {taken[name].shape}, but the CLIP makes {said.shape}: "
                "give the network the text_length, text_width and text_features of the section clip (length, "
                "text_width, features)."
            )


def _check_kind(name: str, process: Any) -> None:
    """Raises InputError where a network is not for a process of this name."""
    kernels = kind_of(process) == KERNELS
    if process == NONE:
        possible = list(WITHOUT_PROCESS)
    else:
        possible = [known for known in NETWORKS if (known in OF_KERNELS) == kernels and known not in WITHOUT_PROCESS]
    if name in NETWORKS and name not in possible:
        raise unknown_name(f"network.name for process {process!r}:", name, possible)


def _with_schedule(config: ConfigDict, module: Any) -> Any:
    """The module, beside the schedule of the process where that is learned."""
    process = build_process(config)
    if not isinstance(process, LearnedChain) or not process.learned:
        return module
    return WithSchedule(module, lambda *_: process.logits, process.num_levels)
