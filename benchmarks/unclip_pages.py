"""The results of `unclip.py` as a page: tables, and strips of pictures."""

from lineage_pages import DOCS, labelled
from pages import made_by, put_into_page, row
from unclip_edits import Edits
from unclip_runs import Stack

_COLUMNS = 16
_IMAGES = DOCS / "images"


def captions_table(found: Stack) -> str:
    """Markdown: shares of held-out captions that are right, by what the decoder is given and by scale."""
    attributes = [name for name in found.seen if name != "all"]
    head = ("embedding", "prior's scale", "decoder's scale", *attributes, "all right")
    lines = [row(*head), "|---|" + "---:|" * (len(head) - 1)]
    best = f"{found.best:g}"
    rows = [("of the prior", "1", f"{scale:g}", shares) for scale, shares in found.by_scale.items()]
    rows += [("of the prior", f"{s:g}", best, shares) for s, shares in found.by_prior_scale.items() if s != 1.0]
    rows += [("of the autoregressive prior", "1", best, found.by_autoregressive)]
    rows += [("of the prior, captions of training", "1", best, found.seen)]
    rows += [("of real images", "", best, found.of_real), ("of the text itself", "", best, found.of_text)]
    rows += [("none: real images, made small and enlarged", "", "", found.upsampled)]
    for name, prior, scale, shares in rows:
        lines.append(row(name, prior, scale, *(f"{shares[each]:.3f}" for each in [*attributes, "all"])))
    return "\n".join(lines)


def edits_table(edits: Edits) -> str:
    """Markdown: what becomes of held-out images that are edited."""
    lines = [row("edit", "setting", "share"), "|---|---:|---:|", row("drawn again", "", f"{edits.drawn_again:.3f}")]
    for name, by in (
        ("text diff: the caption in another colour", edits.diff),
        ("text diff: all but the colour kept", edits.diff_kept),
    ):
        lines += [row(name, f"theta {theta:g}", f"{share:.3f}") for theta, share in by.items()]
    lines += [row("variation: caption kept", f"eta {eta:g}", f"{share:.3f}") for eta, share in edits.kept.items()]
    counts = edits.of_components.items()
    lines += [row("components: caption kept", f"first {count}", f"{share:.3f}") for count, share in counts]
    return "\n".join(lines)


def guidance_table(found: Stack) -> str:
    """Markdown: what the decoder's guidance gains and costs."""
    head = ("decoder's scale", "captions right", "Frechet distance", "spread within a caption")
    lines = [row(*head), "|" + "---:|" * len(head)]
    for scale, like in found.likeness.items():
        right = f"{found.by_scale[scale]['all']:.3f}" if scale else ""
        lines.append(
            row(f"{scale:g}" if scale else "other real images", right, f"{like.frechet:.4f}", f"{like.spread:.2f}")
        )
    return "\n".join(lines)


def write(found: Stack, command: str) -> None:
    """Puts what is known of the stack into docs/results.md and docs/images/."""
    step = max(1, len(found.images["real"]) // _COLUMNS)
    shown = {name: images[::step][:_COLUMNS] for name, images in found.images.items() if not name.startswith("prior_")}
    labelled(_IMAGES / "unclip_shapes.png", [name.replace("_", " ") for name in shown], list(shown.values()))
    retrieval, spread = found.retrieval, ", ".join(f"{r:.2f} at scale {s:g}" for s, r in found.spread.items())
    seconds = ", ".join(f"{name} {taken:.0f} s" for name, taken in found.train_seconds.items())
    facts = (
        f"Of held-out images the CLIP finds the caption among all that differ in "
        f"{retrieval['image_to_text_recall_at_1']:.3f}, and the class among all 576 in "
        f"{retrieval['zero_shot_accuracy']:.3f}. Within a caption the prior's embeddings deviate from their mean "
        f"by so much of what real ones do: {spread}. Read against another sample's caption "
        f"{found.shuffled:.3f} are right. Training took: {seconds}."
    )
    picture = "![Real shapes, and those of the stack for held-out captions](images/unclip_shapes.png)"
    edited = {name: images[:_COLUMNS] for name, images in found.edits.pictures.items()}
    labelled(_IMAGES / "unclip_edits.png", list(edited), list(edited.values()))
    labelled(_IMAGES / "unclip_path.png", list(found.path), list(found.path.values()))
    edits = "![Held-out images, and what the decoder makes of them](images/unclip_edits.png)"
    path = "![From one image to another](images/unclip_path.png)"
    of_codes = (
        f"The autoregressive prior takes {found.bits_per_code:.2f} bits for a code of held-out images, and within a "
        f"caption its embeddings deviate by {found.autoregressive_spread:.2f} of what real ones do."
    )
    likeness = (
        "In the features of the CLIP, at length 1, against as many real images of the same captions; spread is that of "
        "images of one caption, over that of real ones:"
    )
    parts = [
        captions_table(found),
        facts,
        of_codes,
        picture,
        likeness,
        guidance_table(found),
        edits_table(found.edits),
        edits,
        path,
    ]
    put_into_page(DOCS / "results.md", "unclip", [made_by(command), *parts])
