"""unCLIP with two objects: what an embedding says of which has which colour, and two priors at equal cost.

    python benchmarks/unclip_two.py [--budget N] [--out runs/unclip_two] [--docs] [--json] [--quick]

Trains `configs/unclip/small_*.py` on captioned_shapes/two by the product's own commands. A run cut short goes on where
it was. Images of held-out captions are read by the exact checker: drawn of a prior's embeddings, of real ones, and of
none, with the caption and without. The paper says that its embeddings do not bind attributes to objects (Ramesh et al.
2022, section 7).
"""

import dataclasses
import sys

import numpy as np
from latent_runs import Product, best_scale
from lineage_pages import DOCS, labelled
from pages import made_by, put_into_page, row
from unclip_runs import (
    Shares,
    by_caption,
    command,
    decoder_at,
    directions,
    enlarged,
    images_of,
    prior_embeddings,
    retrieval,
    spread_within,
    train,
)

from report import Claim
from score_jax.builder.workdirs import load_config
from score_jax.cli.config_files import config_of_file
from score_jax.data.captioned_checker import share_right
from score_jax.data.captioned_shapes import Related, combinations, example, held_out
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.jobs.variations import Decoder

SCALES = (1.0, 2.0, 4.0)
"""Of the decoder's guidance."""
PRIORS = ("prior", "autoregressive")
_DRAWN = 192
"""Held-out images whose captions are drawn."""
_GROUPS, _PER_GROUP, _AFRESH = 8, 32, 3
"""Captions and images of each that say how much embeddings vary; the number of a split that no data set has."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
      retrieval: what `evaluate` says of the CLIP on held-out captions.
      bound_by_clip: share of images whose caption the CLIP finds nearer than the one with the two colours exchanged.
      by_scale: the whole stack by the decoder's scale.
      rows: shares of images that are read right, by what the decoder is given, at the best scale.
      spread: of each prior's embeddings within a caption, over that of real ones.
      seconds: of training, by run.
      places: of the sequences that each prior's transformer saw in training.
      images: pictures of the rows.
    """

    retrieval: dict[str, float]
    bound_by_clip: float
    by_scale: dict[float, Shares]
    rows: dict[str, Shares]
    spread: dict[str, float]
    seconds: dict[str, float]
    places: dict[str, int]
    images: dict[str, np.ndarray]


def exchanged(caption: str) -> str:
    """The caption with the colours of the two objects exchanged.

    >>> exchanged("a red square above a blue circle")
    'a blue square above a red circle'
    """
    words = caption.split()
    second = len(words) - 2
    words[1], words[second] = words[second], words[1]
    return " ".join(words)


def places_of(name: str, steps: int) -> int:
    """Of all sequences that the transformer of a small prior sees in this many steps."""
    config = config_of_file(f"configs/unclip/small_{name}.py")
    network = config.network
    # Beside the text: its embedding, time, the noised embedding and the last token; or embedding, alignment and codes.
    others = 4 if name == "prior" else 2 + config.codec.components - 1
    return steps * config.training.batch_size * (network.text_length + others)


def steps_at_equal_cost() -> int:
    """Of the autoregressive prior, whose blocks are those of the diffusion prior, over as many places."""
    steps = config_of_file("configs/unclip/small_prior.py").training.steps
    return places_of("prior", steps) // places_of("autoregressive", 1)


def _groups(decoder: Decoder) -> tuple[list[str], np.ndarray]:
    """Some held-out captions, and embeddings (captions, images, d) of images that are drawn anew of each."""
    every, apart = combinations("two"), sorted(held_out("two"))
    labels = apart[:: len(apart) // _GROUPS][:_GROUPS]
    drawn = [example("two", label, _AFRESH, i)[0] for label in labels for i in range(_PER_GROUP)]
    embeddings = np.asarray(decoder.embed(np.stack(drawn)))
    return [every[label].captions[0] for label in labels], embeddings.reshape(len(labels), _PER_GROUP, -1)


def _chosen(product: Product) -> tuple[list[str], np.ndarray]:
    """Captions and images of held-out pairs of unequal shapes, of which colours can be exchanged."""
    labels = sorted(held_out("two"))
    pairs = [each for each in labels if _unequal(combinations("two")[each])]
    count = min(_DRAWN, 2 * len(pairs), product.budget.drawn)
    drawn = [example("two", pairs[i % len(pairs)], _AFRESH, 1000 + i // len(pairs)) for i in range(count)]
    return [caption for _, caption in drawn], np.stack([image for image, _ in drawn])


def _unequal(each: object) -> bool:
    return isinstance(each, Related) and each.second is not None and each.first.shape != each.second.shape


def _bound_by_clip(decoder: Decoder, captions: list[str], shown: np.ndarray) -> float:
    """How often the CLIP tells an image's caption from that with its colours exchanged."""
    of_images = directions(np.asarray(decoder.embed(shown), np.float64))
    texts = (captions, [exchanged(caption) for caption in captions])
    of_texts = (directions(np.asarray(decoder.embed_texts(each), np.float64)) for each in texts)
    own, other = ((of_images * each).sum(axis=-1) for each in of_texts)
    return float((own > other).mean())


def measure(product: Product) -> Found:
    """Trains the stack, and draws held-out captions of it."""
    product.out.mkdir(parents=True, exist_ok=True)
    steps = product.budget.steps or product.budget.training * steps_at_equal_cost()
    words = {"": ["--config.data.name=captioned_shapes/two"], "autoregressive": [f"--config.training.steps={steps}"]}
    seconds, of_clip = train(product, words), retrieval(product)
    decoder = decoder_at(product)
    captions, shown = _chosen(product)
    data = decoder.experiment.config.data
    tokenizer = text_tokenizer(data.tokenizer, data.max_tokens)
    assert tokenizer is not None
    said = np.stack([tokenizer.encode(caption) for caption in captions])
    unsaid = np.stack([tokenizer.encode("")] * len(captions))
    drawn = {run: prior_embeddings(product, f"of_{run}", captions, 1.0, len(captions), run) for run in PRIORS}
    real = np.asarray(decoder.embed(shown))

    def images(name: str, scale: float, z: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return enlarged(product, name, images_of(decoder, scale, z, ids))

    pictures = {s: images(f"scale_{s:g}", s, drawn["prior"], said) for s in SCALES}
    by_scale = {s: share_right(pictures[s], captions) for s in SCALES}
    best = best_scale(by_scale)
    sets = {
        "prior, with caption": pictures[best],
        "autoregressive prior, with caption": images("autoregressive", best, drawn["autoregressive"], said),
        "prior, without caption": images("prior_unsaid", best, drawn["prior"], unsaid),
        "autoregressive prior, without caption": images("ar_unsaid", best, drawn["autoregressive"], unsaid),
        "real, with caption": images("real", best, real, said),
        "real, without caption": images("real_unsaid", best, real, unsaid),
        "none, with caption": images("caption", best, np.zeros_like(real), said),
    }
    named, groups = _groups(decoder)
    spread = {}
    for run in PRIORS:
        many = prior_embeddings(product, f"spread_{run}", named, 1.0, len(named) * _PER_GROUP, run)
        spread[run] = spread_within(by_caption(many, len(named))) / spread_within(groups)
    trained = {run: load_config(product.folder(run)).training.steps for run in PRIORS}
    return Found(
        retrieval=of_clip,
        bound_by_clip=_bound_by_clip(decoder, captions, shown),
        by_scale=by_scale,
        rows={name: share_right(each, captions) for name, each in sets.items()},
        spread=spread,
        seconds=seconds,
        places={run: places_of(run, trained[run]) for run in PRIORS},
        images={"a real image": shown, **sets},
    )


def claims_of(found: Found) -> list[Claim]:
    """What must hold of the stack."""
    rows, scale = found.rows, f"at the decoder's scale {best_scale(found.by_scale):g}"
    both, alone = rows["real, with caption"], rows["real, without caption"]
    claims = [
        Claim("two_retrieval", found.retrieval["image_to_text_recall_at_1"], "", 0.8, ">=", "held-out captions"),
        Claim("two_captions", rows["prior, with caption"]["all"], "", 0.5, ">=", f"held out, {scale}"),
        Claim("two_objects", rows["prior, with caption"]["count"], "", 0.9, ">=", "two are drawn"),
        Claim("two_caption_binds", both["all"] - alone["all"], "", 0.0, ">=", "what a caption adds to an embedding"),
    ]
    for run, ratio in found.spread.items():
        claims.append(Claim(f"two_spread_{run}_least", ratio, "", 0.3, ">=", "of real"))
        claims.append(Claim(f"two_spread_{run}_most", ratio, "", 3.0, "<=", "of real"))
    unequal = abs(found.places["autoregressive"] / found.places["prior"] - 1)
    claims.append(Claim("two_priors_at_equal_cost", unequal, "", 0.01, "<=", "places seen in training, less one"))
    return claims


def write(found: Found, command: str) -> None:
    """Puts a table and strips of pictures into docs/results.md and docs/images/."""
    attributes = list(next(iter(found.rows.values())))[:-1]
    head = ("embedding", *attributes, "all right")
    lines = [row(*head), "|---|" + "---:|" * (len(head) - 1)]
    for name, shares in found.rows.items():
        lines.append(row(name, *(f"{shares[each]:.3f}" for each in [*attributes, "all"])))
    strips = [images[:: max(1, len(images) // 16)][:16] for images in found.images.values()]
    labelled(DOCS / "images" / "unclip_two.png", list(found.images), strips)
    sweep = ", ".join(f"{shares['all']:.3f} at scale {scale:g}" for scale, shares in found.by_scale.items())
    of_places = ", ".join(f"{name} {count / 1e6:.1f} million" for name, count in found.places.items())
    spread = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.spread.items())
    seconds = ", ".join(f"{name} {taken:.0f} s" for name, taken in found.seconds.items())
    facts = (
        f"Of held-out captions the CLIP finds {found.retrieval['image_to_text_recall_at_1']:.3f}, and tells "
        f"{found.bound_by_clip:.3f} from the same caption with its colours exchanged. By the decoder's scale the whole "
        f"stack draws {sweep}; the table is of the best. Places that the priors saw in training: {of_places}. Spread "
        f"of embeddings within a caption, over that of real ones: {spread}. Training took: {seconds}."
    )
    picture = "![Two objects: real ones, and those of the stack for held-out captions](images/unclip_two.png)"
    put_into_page(DOCS / "results.md", "unclip of two objects", [made_by(command), "\n".join(lines), facts, picture])


if __name__ == "__main__":
    sys.exit(command("unclip_two", __doc__.splitlines()[0], measure, claims_of, write))
