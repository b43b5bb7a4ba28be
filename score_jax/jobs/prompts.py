"""Texts and other conditions that samples of a model are drawn with: of the command line, or of the data set."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from score_jax.builder import Experiment, shown_size
from score_jax.conditioning.alignment import ALIGNMENT
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING, SHOWN
from score_jax.data.text_tokenizers import TextTokenizer, text_tokenizer
from score_jax.errors import InputError, quoted
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import Given
from score_jax.models.conditions import TOKENS
from score_jax.runtime.array_files import read_arrays
from score_jax.runtime.multihost import print_once

_ELSEWHERE = {"label", "low_res", "concat", ALIGNMENT}
"""Conditions of images and classes, which have flags of their own, and one that a sampler draws."""


@dataclasses.dataclass(frozen=True)
class Prompts:
    """What the samples are to show, and what not.

    Attributes:
      texts: sample i is of the text at i modulo their number; () : those of the data's eval split.
      negative: what guidance leads away from, in the place of the empty text.
    """

    texts: tuple[str, ...] = ()
    negative: str = ""


def read_prompts(text: str | None, file: str | None, negative: str | None) -> Prompts:
    """The prompts of the flags `--prompt`, `--prompts` and `--negative_prompt`.

    Raises:
      InputError: both of the first are given, or the file is not to be read or empty.
    """
    if text is not None and file is not None:
        raise InputError("Give either --prompt=TEXT or --prompts=FILE.")
    texts: tuple[str, ...] = () if text is None else (text,)
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(
                f"Cannot read --prompts={file}: {reason}. Give a text file with a prompt a line."
            ) from None
        texts = tuple(line for line in lines if line.strip())
        if not texts:
            raise InputError(f"--prompts={file} has no prompt: give a text file with a prompt a line.")
    return Prompts(texts, negative or "")


def tokenizer_of(experiment: Experiment) -> TextTokenizer:
    """The tokenizer of a model's texts.

    Raises:
      InputError: the config names none.
    """
    data = experiment.config.data
    found = text_tokenizer(data.tokenizer, data.max_tokens)
    if found is None:
        raise InputError(
            "data.tokenizer is missing: give the one that the model was trained with, such as "
            "--config.data.tokenizer=clip."
        )
    return found


def conditioned(
    given: Given,
    experiment: Experiment,
    workdir: Path,
    count: int,
    prompts: Prompts,
    handed: Collection[str] = (),
) -> Given:
    """Returns `given` with the conditions of `count` samples of a model that needs any but a class.

    Args:
      given: what else they are given.
      experiment: the model.
      workdir: of its run.
      count: of the samples.
      prompts: what they are to show, and what not.
      handed: conditions that another model makes.

    Raises:
      InputError: the model takes no text and there is one, or it needs a condition that neither texts nor data have.
    """
    needed = [name for name in experiment.network.conditions if name not in {*_ELSEWHERE, *handed}]
    if IMAGE_EMBEDDING in needed:
        needed.remove(IMAGE_EMBEDDING)
        if not {IMAGE_EMBEDDING, SHOWN} & given.conditions.keys():
            needed.append(SHOWN if shown_size(experiment.config) else "image")
    if TOKENS not in needed and (prompts.texts or prompts.negative):
        raise InputError("This model takes no text: leave out --prompt, --prompts and --negative_prompt.")
    if prompts.negative and not experiment.is_guided:
        raise InputError("--negative_prompt needs guidance: give --guidance.scale above 1 too.")
    made: dict[str, np.ndarray] = {}
    if TOKENS in needed and prompts.texts:
        made[TOKENS] = ids_of(tokenizer_of(experiment), prompts.texts, count)
    if lacking := [name for name in needed if name not in made]:
        made |= _of_data(experiment, workdir, lacking, count)
    if prompts.negative:
        made[f"negative_{TOKENS}"] = ids_of(tokenizer_of(experiment), (prompts.negative,), count)
    return dataclasses.replace(given, conditions={**given.conditions, **made})


def with_embeddings(given: Given, experiment: Experiment, file: Path, count: int) -> Given:
    """Returns `given` with embeddings that a prior has drawn, sample i with the one at i modulo their number.

    Args:
      given: what else the samples are given.
      experiment: a decoder of such embeddings.
      file: samples.npz of the prior.
      count: of the samples.

    Raises:
      InputError: the model takes none, or the file is not to be read or holds others.
    """
    condition = experiment.network.conditions.get(IMAGE_EMBEDDING)
    if condition is None:
        raise InputError("This model takes no embedding of an image: leave out --embeddings.")
    found, features = read_arrays(file).get("arr_0"), condition.shape[-1]
    if found is None or found.dtype.kind != "f" or found.ndim < 2 or not found.size or found.shape[-1] != features:
        held = "no array arr_0" if found is None else f"{found.dtype} of shape {found.shape}"
        raise InputError(
            f"--embeddings={file} holds {held}: expected embeddings of {features} numbers, as `sample` of a prior "
            "writes them into samples.npz."
        )
    rows = found.reshape(-1, features).astype(np.float32)
    return dataclasses.replace(
        given, conditions={**given.conditions, IMAGE_EMBEDDING: rows[np.arange(count) % len(rows)]}
    )


def ids_of(tokenizer: TextTokenizer, texts: tuple[str, ...], count: int) -> Int32[np.ndarray, "{count} _"]:
    """The ids of texts, in turn; says which are cut."""
    for text in texts:
        if tokenizer.is_cut(text):
            print_once(f"The text {quoted(text)} is longer than {tokenizer.length} tokens, and its end is not read.")
    ids = [tokenizer.encode(text) for text in texts]
    return np.stack([ids[i % len(ids)] for i in range(count)])


def _of_data(experiment: Experiment, workdir: Path, names: list[str], count: int) -> dict[str, np.ndarray]:
    """Conditions of the first examples of the eval split, in turn."""
    source = open_split(experiment.config, "eval_split", workdir)
    missing = [name for name in names if name not in source[0]]
    if missing:
        hint = "give --prompt=TEXT" if missing == [TOKENS] else "add it to the data"
        raise InputError(f"This model needs the condition {missing[0]!r}, which {source.name} does not have: {hint}.")
    if names == [TOKENS]:  # without a look at the images
        return {
            TOKENS: ids_of(tokenizer_of(experiment), tuple(map(source.caption, range(min(count, len(source))))), count)
        }
    rows = [source[i % len(source)] for i in range(count)]
    return {name: np.stack([row[name] for row in rows]) for name in names}
