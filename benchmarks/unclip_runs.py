"""The runs of `unclip.py`: commands of the product, each run once, and what their files say."""

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import unclip_edits
from latent_runs import Budget, Product, best_scale
from ml_collections import ConfigDict
from unclip_edits import Edits

from report import Claim, emit
from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.data.captioned_checker import share_right
from score_jax.data.captioned_shapes import combinations, draw, draw_jitter, held_out, parse_caption
from score_jax.evaluation.frechet import frechet_distance
from score_jax.evaluation.statistics import moments
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import Given
from score_jax.jobs.sample import draw as draw_samples
from score_jax.jobs.trained import trained_of
from score_jax.jobs.variations import Decoder, Embeddings, Pair, decoder_of, pair_of
from score_jax.runtime.results import write_arrays

SCALES = (1.0, 2.0, 3.0, 4.0)
"""Of the decoder's guidance."""
PRIOR_SCALES = (1.0, 2.0, 4.0)
"""Of the prior's guidance, with the decoder's best."""
_SPREAD_CAPTIONS, _SPREAD_IMAGES = 8, 32
NAMES = ("clip", "prior", "autoregressive", "decoder", "upsampler")
"""The runs of a stack."""
_DRAWN, _EDITED = 192, 32
"""Captions of each sweep, of held-out combinations, and images that are edited."""

Shares = dict[str, float]
"""Of images that are read as their captions say, by attribute, and "all"."""


@dataclasses.dataclass(frozen=True)
class Likeness:
    """Of images to real ones, in the features of the CLIP.

    Attributes:
      frechet: the Frechet distance to as many real images of the same captions.
      spread: deviation within captions over that of real ones.
    """

    frechet: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Stack:
    """What was measured.

    Attributes:
      retrieval: what `evaluate` says of the CLIP on held-out captions.
      train_seconds: of each model.
      by_scale: the whole stack on held-out captions, by the decoder's scale.
      by_prior_scale: likewise by the prior's scale, at the decoder's best.
      of_real: the decoder's images of real embeddings, without an upsampler, read at 32 x 32.
      of_text: likewise of embeddings of texts in the place of those of images.
      seen: the whole stack on captions of training, at the best scale.
      shuffled: share of the stack's images that are read as another sample's caption.
      upsampled: real images, made small and enlarged by the upsampler.
      spread: deviation of the prior's embeddings within a caption over that of real ones, by the prior's scale.
      by_autoregressive: the whole stack with the autoregressive prior, at the decoder's best scale.
      autoregressive_spread: as `spread`, of it.
      bits_per_code: of held-out images under it.
      edits: what is done with held-out images.
      likeness: of the whole stack's images to real ones, by the decoder's scale; at 0 of other real ones.
      path: pictures from one image to another.
      images: pictures by name, uint8.
    """

    retrieval: dict[str, float]
    train_seconds: dict[str, float]
    by_scale: dict[float, Shares]
    by_prior_scale: dict[float, Shares]
    of_real: Shares
    of_text: Shares
    seen: Shares
    shuffled: float
    upsampled: Shares
    spread: dict[float, float]
    by_autoregressive: Shares
    autoregressive_spread: float
    bits_per_code: float
    edits: Edits
    likeness: dict[float, Likeness]
    path: dict[str, np.ndarray]
    images: dict[str, np.ndarray]

    @property
    def best(self) -> float:
        """The decoder's scale with the most captions right."""
        return best_scale(self.by_scale)


def _captions(product: Product, split: str, count: int) -> list[str]:
    config = load_config(product.folder("clip"))
    config.data.eval_split = split
    source = open_split(config, "eval_split")
    return [source.caption(i) for i in range(min(count, len(source)))]


def prompts_file(product: Product, name: str, captions: list[str]) -> str:
    """Writes captions into a file that `sample --prompts` reads, a line each; returns its path."""
    file = product.out / f"{name}.txt"
    file.write_text("\n".join(captions) + "\n")
    return str(file.absolute())


def _stack(
    product: Product, name: str, captions: list[str], scale: float, prior_scale: float, prior: str = "prior"
) -> np.ndarray:
    """Images of captions by prior, decoder and upsampler in one command."""
    folder, runs = product.folder("stack") / name, [product.folder(run) for run in (prior, "decoder", "upsampler")]
    words = [f"--config.cascade.stage{i}.workdir={run}" for i, run in enumerate(runs, start=1)]
    words += [f"--config.cascade.stage1.guidance.scale={prior_scale}"]
    words += [f"--config.cascade.stage2.guidance.scale={scale}"]
    words += [f"--prompts={prompts_file(product, name, captions)}", f"--config.sampling.num_samples={len(captions)}"]
    own = ("--config=configs/unclip/small_cascade.py", f"--workdir={folder}", "--config.sampling.batch_size=96")
    product(f"sample_{name}", "sample", *own, *words)
    return np.load(folder / "samples.npz")["arr_0"]


def prior_embeddings(
    product: Product, name: str, captions: list[str], scale: float, count: int, prior: str = "prior"
) -> np.ndarray:
    """Embeddings (n, d) that a prior draws, each of the next caption."""
    out, run = product.folder("embeddings") / name, product.folder(prior)
    words = (f"--guidance.scale={scale}", f"--prompts={prompts_file(product, name, captions)}", f"--out={out}")
    own = (f"--config.sampling.num_samples={count}", "--config.sampling.batch_size=64")
    product(f"sample_{name}", "sample", f"--workdir={run}", *words, *own)
    return np.load(out / "samples.npz")["arr_0"].reshape(count, -1)


def decoder_at(product: Product) -> Decoder:
    """The decoder and its CLIP, asked directly: for embeddings that no command draws."""
    model = trained_of(product.folder("decoder"))
    return decoder_of(model.experiment, model.params, model.mesh)


def images_of(decoder: Decoder, scale: float, embeddings: Embeddings | np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Images of 16 x 16 of these embeddings and captions, with guidance."""
    config = ConfigDict(decoder.experiment.config.to_dict())
    config.guidance.scale = scale
    given = Given(conditions={"image_embedding": np.asarray(embeddings), "tokens": ids})
    own, indices = builder.experiment(config), range(len(ids))
    return draw_samples(own, decoder.params, decoder.mesh, indices, batch_size=96, seed=0, given=given).images


def enlarged(product: Product, name: str, images: np.ndarray) -> np.ndarray:
    """Images of 16 x 16 by the upsampler."""
    out = product.folder("enlarged") / name
    write_arrays(out / "small.npz", {"arr_0": images})
    words = (f"--base={out / 'small.npz'}", f"--config.sampling.num_samples={len(images)}", f"--out={out}")
    product(f"enlarge_{name}", "sample", f"--workdir={product.folder('upsampler')}", *words)
    return np.load(out / "samples.npz")["arr_0"]


def directions(rows: np.ndarray) -> np.ndarray:
    """Embeddings (..., d) over their length."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def spread_within(groups: np.ndarray) -> float:
    """Root mean square deviation within captions, of embeddings (captions, images, d) over their length."""
    return float(np.sqrt(directions(groups).var(axis=1).mean()))


def by_caption(drawn: np.ndarray, captions: int) -> np.ndarray:
    """Embeddings (captions, images, d) of those of one caption after another in turn."""
    return drawn.reshape(-1, captions, drawn.shape[-1]).swapaxes(0, 1)


def _real_groups(decoder: Decoder) -> tuple[list[str], np.ndarray]:
    """Some held-out captions, and embeddings of images that are drawn anew of each."""
    rng, labels = np.random.default_rng(0), sorted(held_out("one"))[:: 96 // _SPREAD_CAPTIONS][:_SPREAD_CAPTIONS]
    every = combinations("one")
    drawn = [draw(every[label], draw_jitter(rng)) for label in labels for _ in range(_SPREAD_IMAGES)]
    embeddings = np.asarray(decoder.embed(np.stack(drawn)))
    return [every[label].captions[0] for label in labels], embeddings.reshape(len(labels), _SPREAD_IMAGES, -1)


def _likeness(decoder: Decoder, sets: dict[float, np.ndarray], captions: list[str]) -> dict[float, Likeness]:
    """Of sets of images (n, 32, 32, 3) of these captions to images that are drawn anew of each; at 0 of others like
    these."""
    rng = np.random.default_rng(1)

    def features(images: np.ndarray) -> np.ndarray:
        return directions(np.asarray(decoder.embed(images), np.float64))

    def anew() -> np.ndarray:
        return np.stack([draw(parse_caption(caption), draw_jitter(rng)) for caption in captions])

    places = [np.flatnonzero(np.array(captions) == caption) for caption in dict.fromkeys(captions)]

    def spread(z: np.ndarray) -> float:
        within = [z[where].var(axis=0, ddof=1).sum() for where in places if len(where) > 1]
        return float(np.sqrt(np.mean(within))) if within else float("nan")

    real = features(anew())
    of_real, wide = moments(real), spread(real)
    found = {}
    for scale, images in {0.0: anew(), **sets}.items():
        z = features(images)
        found[scale] = Likeness(frechet_distance(generated=moments(z), real=of_real), spread(z) / wide)
    return found


def train(product: Product, words: Mapping[str, Sequence[str]] | None = None) -> dict[str, float]:
    """The five models, each in its workdir; returns their seconds.

    Args:
      product: what runs them.
      words: further ones of each command, by name; "" are those of every command.
    """
    words, clip = words or {}, f"--config.training.clip={product.folder('clip')}"
    found = {}
    for name in NAMES:
        own = [*words.get("", ()), *words.get(name, ())] + ([] if name in ("clip", "upsampler") else [clip])
        found[name] = product.train(name, f"configs/unclip/small_{name}.py", *own)
    return found


def retrieval(product: Product) -> dict[str, float]:
    """What `evaluate` says of the CLIP on captions that training never saw."""
    product("evaluate_clip", "evaluate", f"--workdir={product.folder('clip')}", "--config.data.eval_split=held_out")
    return json.loads((product.folder("clip") / "retrieval.json").read_text())


def _bits(product: Product) -> float:
    """Bits per code of held-out images under the autoregressive prior."""
    run = product.folder("autoregressive")
    product("likelihood", "likelihood", f"--workdir={run}", "--config.data.eval_split=held_out")
    return json.loads((run / "likelihood_codes.json").read_text())["bits_per_code"]


def _edits(
    product: Product, decoder: Decoder, rows: list[dict[str, np.ndarray]], captions: list[str]
) -> tuple[Edits, dict]:
    """Edits of images of the data, and pictures on the way from one to another."""
    pair = pair_of(decoder, *(np.stack([row[name] for row in rows]) for name in ("image", "shown")))
    source = open_split(decoder.experiment.config, "train_split")
    of_training = np.asarray(decoder.embed(np.stack([source[i]["shown"] for i in range(1024)])))
    found = unclip_edits.measure(decoder, pair, captions, of_training, functools.partial(enlarged, product))
    two = Pair(pair.images[:2], pair.z[:2], pair.latents[:2])
    return found, unclip_edits.path(decoder, two, functools.partial(enlarged, product))


def stack(product: Product) -> Stack:
    """Trains the stack, and measures it on captions that training never saw."""
    product.out.mkdir(parents=True, exist_ok=True)
    seconds, found = train(product), retrieval(product)
    count = min(_DRAWN * product.budget.training, product.budget.drawn)
    captions = _captions(product, "held_out", count)
    images = {f"scale_{s:g}": _stack(product, f"held_out_{s:g}", captions, s, 1.0) for s in SCALES}
    by_scale = {s: share_right(images[f"scale_{s:g}"], captions) for s in SCALES}
    best = best_scale(by_scale)
    by_prior = {1.0: by_scale[best]}
    for s in PRIOR_SCALES[1:]:
        images[f"prior_{s:g}"] = _stack(product, f"prior_{s:g}", captions, best, s)
        by_prior[s] = share_right(images[f"prior_{s:g}"], captions)
    seen = _captions(product, "test", count)
    config = load_config(product.folder("decoder"))
    config.data.eval_split = "held_out"
    source = open_split(config, "eval_split")
    rows = [source[i] for i in range(len(captions))]
    shown, ids = (np.stack([row[name] for row in rows]) for name in ("shown", "tokens"))
    decoder = decoder_at(product)
    of_real = images_of(decoder, best, decoder.embed(shown), ids)
    of_text = images_of(decoder, best, decoder.embed_texts(captions), ids)
    images |= {"real": shown, "of_real": enlarged(product, "of_real", of_real)}
    images["of_text"] = enlarged(product, "of_text", of_text)
    images["upsampled"] = enlarged(product, "real", np.stack([row["image"] for row in rows]))
    named, real = _real_groups(decoder)
    spreads = {}
    for s in PRIOR_SCALES:
        drawn = prior_embeddings(product, f"spread_{s:g}", named, s, len(named) * _SPREAD_IMAGES)
        spreads[s] = spread_within(by_caption(drawn, len(named))) / spread_within(real)
    autoregressive = _stack(product, "autoregressive", captions, best, 1.0, "autoregressive")
    drawn = prior_embeddings(product, "spread_ar", named, 1.0, len(named) * _SPREAD_IMAGES, "autoregressive")
    images["autoregressive"] = autoregressive
    whole = images[f"scale_{best:g}"]
    likeness = _likeness(decoder, {s: images[f"scale_{s:g}"] for s in SCALES}, captions)
    edited, path = _edits(product, decoder, rows[:_EDITED], captions[:_EDITED])
    others = [*captions[len(captions) // 2 :], *captions[: len(captions) // 2]]
    return Stack(
        retrieval=found,
        train_seconds=seconds,
        by_scale=by_scale,
        by_prior_scale=by_prior,
        of_real=share_right(images["of_real"], captions),
        of_text=share_right(images["of_text"], captions),
        seen=share_right(_stack(product, "seen", seen, best, 1.0), seen),
        shuffled=share_right(whole, others)["all"],
        upsampled=share_right(images["upsampled"], captions),
        spread=spreads,
        by_autoregressive=share_right(autoregressive, captions),
        autoregressive_spread=spread_within(by_caption(drawn, len(named))) / spread_within(real),
        bits_per_code=_bits(product),
        edits=edited,
        likeness=likeness,
        path=path,
        images=images,
    )


def command(
    name: str, about: str, measure: Callable[[Product], Any], claims: Callable[[Any], list[Claim]], write: Callable
) -> int:
    """Runs a benchmark of a stack by the flags of its command line; returns its exit code.

    Args:
      name: of the benchmark, and of the folder below runs/ where everything is kept.
      about: what it is, in a line.
      measure: trains and measures.
      claims: of what was measured.
      write: puts what was measured into the docs, with the command that did.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--budget", type=int, default=1, help="times the training of the configs")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="where everything is kept")
    parser.add_argument("--docs", action="store_true", help="write docs/results.md and its pictures")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="four steps each: that everything runs, no more")
    arguments = parser.parse_args()
    began, quick = time.monotonic(), arguments.quick
    folder = folder_of(arguments.out, arguments.budget, quick=quick)
    found = measure(Product(folder, Budget.of(arguments.budget, quick=quick)))
    if arguments.docs:
        write(found, f"python {' '.join(sys.argv)}")
    return emit(name, claims(found), began, as_json=arguments.json)


def folder_of(out: Path, factor: int, *, quick: bool) -> Path:
    """Where the runs of a budget are kept."""
    return out / ("quick" if quick else f"budget_{factor}")
