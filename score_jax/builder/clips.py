"""The section `clip`, and what a network needs to know of the CLIP of a run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.naming import construct
from score_jax.builder.network_tables import VALUES
from score_jax.codecs.embeddings import CLIP
from score_jax.data.text_tokenizers import ClipTokens, TextTokenizer, text_tokenizer
from score_jax.errors import InputError, unknown_name
from score_jax.models.clip.image_text import ImageText, clip
from score_jax.models.conditions import TOKENS, DeclaredConditions, of_text, token_ids
from score_jax.models.network import Encoder
from score_jax.models.text.clip_features import ClipFeatures


def clip_of(config: ConfigDict) -> ImageText | None:
    """Builds the CLIP of the section `clip`, which is not trained; None: there is no such section.

    Raises:
      InputError: a key is unknown, a value is not possible, or it sees images of another size than the data's.
    """
    if CLIP not in config:
        return None
    values = {"image_size": config.data.image_size} | config.clip.to_dict()
    module = construct(CLIP, {CLIP: clip}, values, VALUES)
    return image_text(config, CLIP, module)


def needed_clip(config: ConfigDict, by: str) -> ImageText:
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


def clip_of_decoder(config: ConfigDict, features: int) -> ImageText:
    """The CLIP whose embeddings a decoder takes.

    Raises:
      InputError: the config has none, or its embeddings have another length.
    """
    clip = needed_clip(config, "network.name=unclip_decoder")
    if clip.features != features:
        raise InputError(f"network.image_features={features}, but clip.features={clip.features}: make them the same.")
    return clip


def texts_by(tokenizer: TextTokenizer) -> DeclaredConditions:
    """Texts as a tokenizer writes them; the empty one stands for none."""
    return {TOKENS: dataclasses.replace(token_ids(tokenizer.length)[TOKENS], null=tokenizer.encode(""))}


def clip_encoder(config: ConfigDict, values: Mapping[str, Any]) -> Encoder:
    """The encoder of texts of the section `clip`."""
    found = needed_clip(config, "condition_encoder.name=clip")
    for key in values:
        if key != "name":
            raise unknown_name("key of condition_encoder:", key, ("name",))
    module, tokenizer = ClipFeatures(found), text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    assert tokenizer is not None, "a CLIP has been refused without one"
    return Encoder(module, texts_by(tokenizer), trained=False, frozen_as=CLIP)


def check_tokenizer(config: ConfigDict, section: str, sizes: Mapping[str, int], tokenizer: TextTokenizer) -> None:
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


def image_text(config: ConfigDict, section: str, module: Any) -> ImageText:
    """The CLIP of a section, for the config's data.

    Raises:
      InputError: the data are not coloured, or their texts are not what it reads.
    """
    if config.data.channels != 3:
        raise InputError(f"data.channels={config.data.channels}, but a CLIP sees red, green and blue: give 3.")
    tokenizer = text_tokenizer(config.data.tokenizer, config.data.max_tokens)
    if tokenizer is None:
        raise InputError("data.tokenizer is missing: a CLIP is trained on captions, so give one, such as clip.")
    check_tokenizer(config, section, config[section].to_dict(), tokenizer)
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


def check_text_of_clip(taken: DeclaredConditions, clip: ImageText) -> None:
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
