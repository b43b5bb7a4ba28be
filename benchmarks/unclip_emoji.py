"""unCLIP on real pictures: the emoji of a font, by their names in Unicode.

    python benchmarks/unclip_emoji.py [--budget N] [--out runs/unclip_emoji] [--docs] [--json] [--quick]

Trains `configs/unclip/small_*.py` on emoji/plain by the product's own commands, with a vocabulary of word pieces that
is written from the names in training. A run cut short goes on where it was. There is one picture for each name, so a
model of training learns pictures by heart; names of other families, which training never saw, say what it learned
beyond that. Needs Debian's packages fonts-noto-color-emoji and unicode-data.
"""

import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from latent_runs import Product
from lineage_pages import DOCS, labelled
from pages import made_by, put_into_page, row
from unclip_runs import command, decoder_at, directions, enlarged, images_of, prior_embeddings, retrieval, train

from report import Claim
from score_jax.builder.workdirs import load_config
from score_jax.data.emoji import pictures
from score_jax.data.sources import Source
from score_jax.data.text_tokenizers import WordPieces
from score_jax.jobs.open_split import open_split
from score_jax.jobs.variations import Decoder, Embeddings

PRIORS = ("prior", "autoregressive")
SPLITS = {"train": 320, "held_out": 159}
"""Pictures of each split that are measured."""
_SCALE = 2.0
"""Of the decoder's guidance."""
_LENGTH = 16
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of the pictures of a split.

    Attributes:
      pictures: how many.
      by_clip: share whose own name is the nearest of all names of the split, to the CLIP.
      by_prior: share of embeddings of a prior whose nearest picture is that of its name, by prior.
      drawn: share of drawn pictures, by what the decoder was given, whose nearest name is their own.
      images: pictures by name.
    """

    pictures: int
    by_clip: float
    by_prior: dict[str, float]
    drawn: dict[str, float]
    images: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
      splits: by name.
      retrieval: what `evaluate` says of the CLIP on names that training never saw.
      seconds: of training, by run.
    """

    splits: dict[str, Measured]
    retrieval: dict[str, float]
    seconds: dict[str, float]


def write_vocabulary(file: Path, names: Sequence[str]) -> int:
    """Writes BERT's vocab.txt of the words of these names, and of letters for those of others; returns its lines."""
    words = sorted({word for name in names for word in re.findall(r"\w+|[^\w\s]", name.lower())})
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    pieces = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *(w for w in words if len(w) > 1)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return len(pieces)


def _words(product: Product) -> dict[str, list[str]]:
    """Further words of each training."""
    file = (product.out / "vocab.txt").absolute()
    size = write_vocabulary(file, [each.name for each in pictures(plain=True) if not each.held_out])
    assert size == WordPieces(str(file)).vocabulary_size
    texts = [f"--config.data.tokenizer=bert:{file}", f"--config.data.max_tokens={_LENGTH}"]
    own = {"network": [f"--config.network.vocabulary={size}", f"--config.network.length={_LENGTH}"]}
    given = [*texts, f"--config.clip.vocabulary={size}", f"--config.clip.length={_LENGTH}"]
    given += [f"--config.network.text_length={_LENGTH}"]
    return {
        "": [f"--config.data.{key}" for key in ("name=emoji/plain", "eval_split=held_out", "resize_filter=bicubic")],
        "clip": [*texts, *own["network"]],
        "prior": given,
        "autoregressive": given,
        "decoder": given,
    }


def _rows(source: Source, count: int) -> tuple[list[str], list[dict[str, np.ndarray]]]:
    chosen = range(0, len(source), max(1, len(source) // count))[:count]
    return [source.caption(i) for i in chosen], [source[i] for i in chosen]


def _directions(z: Embeddings | np.ndarray) -> np.ndarray:
    return directions(np.asarray(z, np.float64))


def _own(rows: np.ndarray, others: np.ndarray) -> float:
    """Share of rows (n, d) of length 1 to which the one in the same place is the nearest of the others."""
    return float(((rows @ others.T).argmax(axis=1) == np.arange(len(rows))).mean())


def _measure(product: Product, decoder: Decoder, split: str, count: int) -> Measured:
    config = load_config(product.folder("decoder"))
    config.data.eval_split = split
    names, rows = _rows(open_split(config, "eval_split"), count)
    shown, ids = (np.stack([row[name] for row in rows]) for name in ("shown", "tokens"))
    z = np.asarray(decoder.embed(shown))
    of_pictures, of_names = _directions(z), _directions(decoder.embed_texts(names))
    given = {"a real embedding": z}
    for run in PRIORS:
        given[run] = prior_embeddings(product, f"{split}_{run}", names, 1.0, len(names), run)
    images = {"pictures": shown}
    for run, each in given.items():
        drawn = images_of(decoder, _SCALE, each, ids)
        images[run] = enlarged(product, f"{split}_{run.replace(' ', '_')}", drawn)
    return Measured(
        pictures=len(names),
        by_clip=_own(of_pictures, of_names),
        by_prior={run: _own(_directions(given[run]), of_pictures) for run in PRIORS},
        drawn={run: _own(_directions(decoder.embed(images[run])), of_names) for run in given},
        images=images,
    )


def measure(product: Product) -> Found:
    """Trains the stack, and draws names of training and others."""
    product.out.mkdir(parents=True, exist_ok=True)
    seconds, of_clip = train(product, _words(product)), retrieval(product)
    decoder = decoder_at(product)
    counts = {split: min(count, product.budget.drawn) for split, count in SPLITS.items()}
    return Found({split: _measure(product, decoder, split, n) for split, n in counts.items()}, of_clip, seconds)


def claims_of(found: Found) -> list[Claim]:
    """What must hold of the stack: names of training are known, and others better than by chance."""
    seen, other = found.splits["train"], found.splits["held_out"]
    chance = 1 / other.pictures
    where = f"of {other.pictures} names, by chance {chance:.4f}"
    return [
        Claim("emoji_clip_seen", seen.by_clip, "", 0.9, ">=", f"of {seen.pictures} names of training"),
        Claim("emoji_prior_seen", seen.by_prior["prior"], "", 0.5, ">=", "nearest picture is that of the name"),
        Claim("emoji_drawn_seen", seen.drawn["prior"], "", 0.5, ">=", "nearest name of a drawn picture is its own"),
        Claim("emoji_clip_held_out", other.by_clip / chance, "x chance", 5.0, ">=", where),
        Claim("emoji_drawn_held_out", other.drawn["prior"] / chance, "x chance", 3.0, ">=", where),
    ]


def write(found: Found, command: str) -> None:
    """Puts a table and strips of pictures into docs/results.md and docs/images/."""
    head = ("names", "pictures", "CLIP", *(f"embeddings, {run}" for run in PRIORS))
    drawn = list(next(iter(found.splits.values())).drawn)
    head = (*head, *(f"drawn, {run}" for run in drawn))
    lines = [row(*head), "|---|" + "---:|" * (len(head) - 1)]
    strips: dict[str, np.ndarray] = {}
    for split, each in found.splits.items():
        shares = (each.by_clip, *each.by_prior.values(), *each.drawn.values())
        lines.append(row(split, str(each.pictures), *(f"{share:.3f}" for share in shares)))
        step = max(1, each.pictures // 16)
        strips |= {f"{split}: {name}": images[::step][:16] for name, images in each.images.items()}
    labelled(DOCS / "images" / "unclip_emoji.png", list(strips), list(strips.values()))
    seconds = ", ".join(f"{name} {taken:.0f} s" for name, taken in found.seconds.items())
    facts = (
        f"The CLIP finds the name of a picture that training never saw first in "
        f"{found.retrieval['image_to_text_recall_at_1']:.3f} and among five in "
        f"{found.retrieval['image_to_text_recall_at_5']:.3f}. Training took: {seconds}."
    )
    picture = "![Emoji, and what the stack draws of their names](images/unclip_emoji.png)"
    put_into_page(DOCS / "results.md", "unclip_emoji", [made_by(command), "\n".join(lines), facts, picture])


if __name__ == "__main__":
    sys.exit(command("unclip_emoji", __doc__.splitlines()[0], measure, claims_of, write))
