"""`convert` of Karlo's unCLIP: three workdirs, and beside them the config of the cascade that they are.

WORKDIR/config.json            of the cascade: `sample --workdir=WORKDIR --prompt=TEXT` draws from it
WORKDIR/prior/                 from a caption to an embedding, with clip/ and embedding_statistics/
WORKDIR/decoder/               from an embedding to an image of 64 x 64, with clip/
WORKDIR/upsampler/             from there to 256 x 256
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from score_jax.builder import build_network, completed
from score_jax.builder.sections import default_cascade, default_config, is_cascade
from score_jax.codecs.embeddings import CLIP, STATISTICS
from score_jax.convert import karlo, karlo_sections, unclip
from score_jax.convert.correspondence import Table, to_ours
from score_jax.convert.karlo import Part
from score_jax.convert.latent_sections import Section
from score_jax.errors import InputError
from score_jax.jobs.convert_latent import write_record
from score_jax.models.network import Network
from score_jax.models.priors.prior_transformer import PriorTransformer
from score_jax.models.unets.karlo_upsampler import KarloUpsampler
from score_jax.models.unets.unclip import UnCLIPDecoder
from score_jax.training.run_config import save_config, stored_config
from score_jax.training.weights import save_params

KARLO = "karlo"
"""The name of the release, of its own files and of diffusers' folder alike."""
STAGES = ("prior", "decoder", "upsampler")
"""Folders of the workdir, in the order in which they draw."""
_TABLES: dict[type, Callable[[Any], Table]] = {
    PriorTransformer: unclip.prior_table,
    UnCLIPDecoder: unclip.decoder_table,
    KarloUpsampler: unclip.upsampler_table,
}


class Written(NamedTuple):
    """One network as it was written.

    Attributes:
      parameters: their number.
      weights: "ema", "raw", or "unknown".
    """

    parameters: int
    weights: str


def convert_karlo(source: Path, out: Path, weights: str = "auto") -> dict[str, Written]:
    """Writes the three stages and the cascade into `out`; nothing where there is a mistake.

    Args:
      source: the folder of Karlo's release, or of diffusers' UnCLIPPipeline; nothing in it is executed.
      out: a folder, new or of an earlier conversion.
      weights: what the weights of the files are called, "ema" or "raw"; "auto": unknown.

    Returns:
      What was written, by the names of the stages.

    Raises:
      InputError: a file is missing or damaged or does not fit the others, or `out` holds something else.
    """
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        try:
            karlo.check_folder(source)
            written = dict(_stages(source, Path(name), weights))
        except InputError as error:
            raise InputError(str(error) if str(error).startswith(str(source)) else f"{source}: {error}") from None
        out.mkdir(exist_ok=True)
        for stage in STAGES:
            shutil.rmtree(out / stage, ignore_errors=True)
            os.replace(Path(name) / stage, out / stage)
    save_config(out, cascade_config(out))
    return written


def _check_free(out: Path) -> None:
    """Raises InputError where a folder holds a run, or one of its stages has been trained."""
    trained = [folder for folder in (out, *(out / stage for stage in STAGES)) if (folder / "checkpoints").exists()]
    if trained or ((out / "config.json").exists() and not is_cascade(ConfigDict(stored_config(out)))):
        raise InputError(f"{(trained or [out])[0]} holds a run: convert into another folder.")


def _stages(source: Path, out: Path, weights: str) -> Iterator[tuple[str, Written]]:
    """Writes one stage after another, so that only one of them is in memory."""
    clip = karlo.read_clip(source)
    section = karlo_sections.clip_section(clip.module)
    params = jax.tree.map(np.asarray, clip.params)
    beside = {CLIP: params}
    part = karlo.read_prior(source, weights)
    statistics = karlo.read_statistics(source, part)
    for path, what, found in (
        (karlo.clip_source(source), "the CLIP embeds in", section["features"]),
        (
            part.source if karlo.of_diffusers(source) else source / karlo.STATISTICS,
            "there are",
            len(statistics["mean"]),
        ),
    ):
        if found != karlo_sections.features_of(part):
            raise InputError(
                f"{path}: {what} {found} numbers, but the prior of {part.source.name} draws "
                f"{karlo_sections.features_of(part)}: give the files of one release."
            )
    own = karlo_sections.prior_section(part)
    yield STAGES[0], _stage(out / STAGES[0], part, prior_config(section, own), beside | {STATISTICS: statistics})
    part = karlo.read_decoder(source, weights)
    own = karlo_sections.decoder_section(part, section["length"])
    size = part.image_size
    yield STAGES[1], _stage(out / STAGES[1], part, decoder_config(section, own, size), beside)
    part = karlo.read_upsampler(source, weights)
    own = karlo_sections.upsampler_section(part)
    yield STAGES[2], _stage(out / STAGES[2], part, upsampler_config(own, size, part.image_size), {})


def _stage(out: Path, part: Part, config: ConfigDict, beside: Mapping[str, PyTree]) -> Written:
    """Writes the workdir of one network, and those that are not trained beside it."""
    try:
        network = build_network(config)
        assert isinstance(network, Network)
        params = to_ours(part.state, network.shapes(), table_of(network), buffers=unclip.PRIOR_BUFFERS)
    except InputError as error:
        raise InputError(f"{part.source}: {error}") from None
    save_config(out, config)
    save_params(out, params)
    for name, own in beside.items():
        save_params(out / name, own)
    return Written(write_record(out, KARLO, part.source, part.weights, params), part.weights)


def table_of(network: Network) -> Table:
    """Karlo's names of the parameters of one of its networks."""
    return _TABLES[type(network.module)](network.module)


def prior_config(clip: Section, network: Section) -> ConfigDict:
    """The config of a prior of these networks, as Karlo samples it: 25 steps, guidance of 4."""
    config = _of_clip(clip, network, clip["image_size"])
    config.codec.name = "embeddings"
    config.prediction.output = "x0"
    config.loss.update(weighting="x0", condition_dropout=0.2)
    config.optimizer.update(learning_rate=1.1e-4, weight_decay=6e-2, b2=0.96, eps=1e-6)
    config.sampler.update(respacing="25")
    config.guidance.scale = 4.0
    return completed(config)


def decoder_config(clip: Section, network: Section, image_size: int) -> ConfigDict:
    """The config of a decoder of these networks, as Karlo samples it: 25 steps, guidance of 8."""
    config = _of_clip(clip, network, image_size)
    config.loss.update(name="hybrid", variance="learned_range", condition_dropout=0.1, caption_dropout=0.3)
    config.sampler.update(respacing="25", variance="learned_range")
    config.guidance.scale = 8.0
    return completed(config)


def upsampler_config(network: Section, low_resolution: int, image_size: int) -> ConfigDict:
    """The config of an upsampler of this network, as Karlo samples it: 7 steps, no guidance."""
    config = _chain(network, image_size)
    config.data.update(low_resolution=low_resolution, degradation="bicubic")
    config.sampler.update(respacing="7")
    return completed(config)


def _of_clip(clip: Section, network: Section, image_size: int) -> ConfigDict:
    """Of a network that is given captions by a CLIP."""
    config = _chain(network, image_size)
    config.data.update(tokenizer="clip", max_tokens=clip["length"])
    with config.unlocked():
        config.clip, config.condition_encoder = ConfigDict(clip), ConfigDict({"name": CLIP})
    return config


def _chain(network: Section, image_size: int) -> ConfigDict:
    """What all three have in common; the optimizer is that of unCLIP's table 3, as Karlo's is not published."""
    config = default_config()
    config.data.update(image_size=image_size, resize_filter="bicubic")
    config.optimizer.update(name="adamw", learning_rate=1.2e-4, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.sampler.update(name="ancestral", variance="fixed_small", threshold="clip")
    config.sampling.update(num_samples=4, batch_size=4)
    with config.unlocked():
        config.process = ConfigDict({"name": "vp_chain", "schedule": "cosine", "num_levels": 1000})
        config.prediction = ConfigDict({"output": "eps", "label": "index"})
        config.network = ConfigDict(network)
    return config


def cascade_config(out: Path) -> ConfigDict:
    """The config of the cascade of the stages that are in a folder."""
    config = default_cascade(tuple(str(out / stage) for stage in STAGES))
    last = stored_config(out / STAGES[-1])
    config.data.update(image_size=last.data.image_size, resize_filter="bicubic")
    config.sampling.update(num_samples=4, batch_size=4)
    return config
