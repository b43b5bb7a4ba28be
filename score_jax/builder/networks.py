"""The `network` section, and the `codec` section, whose x0 the network sees."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.clips import (
    check_text_of_clip,
    check_tokenizer,
    clip_encoder,
    clip_of_decoder,
    image_text,
    needed_clip,
    shown_size,
    texts_by,
)
from score_jax.builder.codec_options import (
    BlackAndWhite,
    EmbeddingCodeOptions,
    EmbeddingOptions,
    LatentOptions,
    NumberRange,
    PixelRange,
)
from score_jax.builder.naming import choose, construct
from score_jax.builder.network_tables import (
    AUTOENCODERS,
    CHOICES,
    DTYPES,
    ENCODERS,
    NETWORKS,
    NOT_TRAINED,
    OF_CODES,
    OF_KERNELS,
    VALUES,
    WITHOUT_PROCESS,
)
from score_jax.builder.options import CODES, KERNELS
from score_jax.builder.processes import NONE, build_process, kind_of
from score_jax.builder.sections import completed, made
from score_jax.codecs.bits import Bits
from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import CodeStatistics, EmbeddingCodes
from score_jax.codecs.embeddings import CLIP, ImageEmbeddings
from score_jax.codecs.latents import Latents
from score_jax.codecs.numbers import Numbers
from score_jax.codecs.pixels import Pixels
from score_jax.conditioning import alignment, image_embedding
from score_jax.conditioning.augmentation import NUM_LABELS
from score_jax.conditioning.channels import HOLES, enlarged
from score_jax.conditioning.conditioners import Conditioner, low_resolution, one_hot
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError, entry_of, unknown_name
from score_jax.models.autoencoders.first_stage import FirstStage
from score_jax.models.blocks.schedule import WithSchedule
from score_jax.models.clip.image_text import ImageText
from score_jax.models.conditions import TOKENS, declared
from score_jax.models.network import Encoder, Network
from score_jax.models.text.clip_features import ClipFeatures
from score_jax.processes.learned import LearnedChain
from score_jax.processes.levels import NoiseLevels
from score_jax.tiles import check_tiles

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
    if isinstance(options, EmbeddingOptions | EmbeddingCodeOptions):
        clip = needed_clip(config, f"codec.name={config.codec.name}")
        if shown_size(config):
            raise InputError(
                f"data.image_size={config.data.image_size}, but the CLIP sees images of {shown_size(config)}: give "
                "that."
            )
        return ImageEmbeddings(clip) if isinstance(options, EmbeddingOptions) else _codes_of(options, clip)
    return _CODECS[type(options)](options)


def _codes_of(c: EmbeddingCodeOptions, clip: ImageText) -> EmbeddingCodes:
    if c.components > clip.features:
        raise InputError(f"codec.components={c.components}, but clip.features={clip.features}: give at most as many.")
    return EmbeddingCodes(clip, CodeStatistics(clip.features, c.components, c.buckets, c.alignments))


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
        decoded = clip_of_decoder(config, network.conditions[IMAGE_EMBEDDING].shape[0])
        made[IMAGE_EMBEDDING] = image_embedding.of_clip(decoded)
    if alignment.ALIGNMENT in network.conditions:
        assert isinstance(network, Network)
        aligned = needed_clip(config, "network.name=autoregressive_prior")
        made[alignment.ALIGNMENT] = alignment.of_pair(aligned, network.module.alignments)
    return made


def _encoder(config: ConfigDict, shape: tuple[int, int, int]) -> Encoder | None:
    """The encoder of the section `condition_encoder`, if there is one, for x of this shape."""
    if "condition_encoder" not in config:
        return None
    values = config.condition_encoder.to_dict()
    if values.get("name") == CLIP:
        return clip_encoder(config, values)
    module = construct("condition_encoder", ENCODERS, values, VALUES, choices={"dtype": DTYPES})
    raw = module.conditions(shape)
    if not raw:
        raise InputError("condition_encoder.num_classes=0: give the number of classes, at least 1.")
    tokenizer = text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    if TOKENS in raw and tokenizer is not None:
        sizes = {"vocabulary": module.vocabulary, "length": module.length}
        check_tokenizer(config, "condition_encoder", sizes, tokenizer)
        raw = texts_by(tokenizer)
    return Encoder(module, raw, values["name"] not in NOT_TRAINED)


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
    if isinstance(codec, EmbeddingCodes):
        own = codec.statistics
        shared |= {"components": own.components, "buckets": own.buckets, "alignments": own.alignments}
    takes = inspect.signature(choose("network.name", NETWORKS, c.get("name", "ncsnpp"))).parameters
    if "name" in c:
        _check_kind(c["name"], process.get("name"))
    _check_codes(config, codec)
    given = {key: value for key, value in shared.items() if key in takes}
    choices = {key: table for key, table in CHOICES.items() if key in takes or "name" not in c}
    module = construct("network", NETWORKS, c, VALUES, choices=choices, given=given)
    if c.get("num_levels") not in (None, process.get("num_levels", c.get("num_levels"))):
        raise InputError(
            f"network.num_levels={c['num_levels']} is not process.num_levels={process.num_levels}: make them the same."
        )
    _check_augment(config, module, codec)
    if c["name"] in WITHOUT_PROCESS:
        if "condition_encoder" in config:
            what = "a CLIP" if c["name"] == CLIP else "an autoencoder"
            raise InputError(f"The section condition_encoder is not read by {what}: leave it out.")
        if c["name"] == CLIP:
            if module.vision is None:
                raise InputError("network.patch is missing: network.name='clip' needs it for its network of images.")
            return image_text(config, "network", module)
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


def _check_augment(config: ConfigDict, module: Any, codec: Codec) -> None:
    """Raises InputError where images would be augmented of a network that is not told of it, or whose x0 are no
    pixels."""
    share, labels = config.data.augment, getattr(module, "augment_dim", 0)
    if share and (labels != NUM_LABELS or not isinstance(codec, Pixels)):
        raise InputError(
            f"data.augment={share} is for pixels and networks that are told of it: give "
            f"network.augment_dim={NUM_LABELS} of edm_song or edm_dhariwal and codec.name=pixels, or data.augment=0."
        )


def _check_made(module: Any, encoder: Encoder, shape: tuple[int, int, int]) -> None:
    """Raises InputError where an encoder does not make what the network takes, or both are given the same."""
    if isinstance(encoder.module, ClipFeatures):
        check_text_of_clip(declared(module, shape), encoder.module.clip)
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


def _check_kind(name: str, process: Any) -> None:
    """Raises InputError where a network is not for a process of this name."""
    others = (*WITHOUT_PROCESS, *OF_KERNELS, *OF_CODES)
    if process == NONE:
        possible = WITHOUT_PROCESS
    else:
        predicting = tuple(known for known in NETWORKS if known not in others)
        possible = {KERNELS: OF_KERNELS, CODES: OF_CODES}.get(kind_of(process), predicting)
    if name in NETWORKS and name not in possible:
        raise unknown_name(f"network.name for process {process!r}:", name, possible)


def _check_codes(config: ConfigDict, codec: Codec) -> None:
    """Raises InputError where codes are to be noised, or what is to be drawn one after another is no code."""
    drawn, process = kind_of(config.process.get("name")) == CODES, config.process.get("name")
    if drawn and not isinstance(codec, EmbeddingCodes):
        raise InputError(
            f"process.name={process} draws codes, and codec.name={config.codec.name} has none: give "
            "codec.name=embedding_codes."
        )
    if isinstance(codec, EmbeddingCodes) and not drawn:
        raise InputError(
            f"codec.name=embedding_codes are no numbers that process.name={process} could noise: give "
            "process.name=autoregressive, or codec.name=embeddings."
        )


def _with_schedule(config: ConfigDict, module: Any) -> Any:
    """The module, beside the schedule of the process where that is learned."""
    process = build_process(config)
    if not isinstance(process, LearnedChain) or not process.learned:
        return module
    return WithSchedule(module, lambda *_: process.logits, process.num_levels)
