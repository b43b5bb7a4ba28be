"""Blended Diffusion where truth is known: captioned shapes, painted anew as a text says within a mask.

    python benchmarks/blended_shapes.py [--out runs/unclip] [--docs] [--json] [--quick]

Trains `configs/unclip/small_clip.py` (or takes the one that `unclip.py` has trained below the same --out) and
`configs/blended_diffusion/small_shapes.py`. Each image's object is to become one of another colour and shape in its
place; a checker reads what was painted. Measured against the number of views that CLIP sees of an image, the strength
of the text, and with and without ranking by CLIP: the paper's ablation (Avrahami et al. 2022, section 4).
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from latent_runs import Budget, Product
from lineage_pages import DOCS, labelled
from pages import made_by, put_into_page, row
from unclip_edits import following
from unclip_runs import folder_of

from report import Claim, emit
from score_jax import builder
from score_jax.data.captioned_checker import judged
from score_jax.data.captioned_shapes import COLOURS, SHAPES, SIDE, Placed, combinations, draw, draw_jitter
from score_jax.evaluation.image_grid import save_png
from score_jax.jobs import blend
from score_jax.jobs.edit import Task, read_task
from score_jax.jobs.sample import Given
from score_jax.jobs.sample import draw as draw_samples
from score_jax.jobs.trained import Trained, trained_of

POSITION, ROWS, COLUMNS = "on the left", slice(5, 27), slice(0, 20)
"""Where the objects are, and where images are painted anew: what such an object may cover."""
VIEWS, SCALES = (1, 4, 8), (100.0, 300.0, 1000.0)
"""Of an image, for CLIP; and factors of its distance from the text."""
USUAL_VIEWS, USUAL_SCALE = 8, 300.0
"""While the other is varied."""
IMAGES, CANDIDATES = 24, 4
"""That are edited, and results of each, of which ranking takes one."""


@dataclasses.dataclass(frozen=True)
class Edited:
    """What became of the images.

    Attributes:
      any: share of all results that are read as the text says.
      ranked: share of images whose nearest result to the text, of `CANDIDATES`, is.
      attributes: of all results, the share that is right, by attribute.
      kept: share of pixels outside the mask that are the image's.
      images: the nearest results.
    """

    any: float
    ranked: float
    attributes: dict[str, float]
    kept: float
    images: np.ndarray


def changed(each: Placed) -> Placed:
    """The same place, size and background, with the next colour and the next shape."""
    return dataclasses.replace(each, colour=following(COLOURS, each.colour), shape=following(SHAPES, each.shape))


def edit(model: Trained, clip: Path, images: np.ndarray, texts: list[str], task: Task, **options: float) -> Edited:
    """Edits each image as its text says, `CANDIDATES` times."""
    config = model.config.copy_and_resolve_references()
    config.edit.update(options)
    many, prompts = np.repeat(images, CANDIDATES, axis=0), [text for text in texts for _ in range(CANDIDATES)]
    guide = blend.load_guide(config, prompts, task, blend.Weights(clip), model.mesh)
    given = dataclasses.replace(task.given(Given(), len(many)), known=many, text=guide)
    experiment = builder.experiment(config)
    drawn = draw_samples(
        experiment, model.params, model.mesh, range(len(many)), batch_size=48, seed=0, given=given, rounding="rounded"
    )
    inside = task.painted > 0
    results = np.where(inside, drawn.images, many)  # as the verb `edit` writes them
    right, distances = judged(results, prompts), blend.distances(guide, results, batch_size=48)
    best = np.arange(len(images)) * CANDIDATES + distances.reshape(len(images), CANDIDATES).argmin(axis=1)
    return Edited(
        any=float(right["all"].mean()),
        ranked=float(right["all"][best].mean()),
        attributes={name: float(each.mean()) for name, each in right.items() if name != "all"},
        kept=float((results == many).all(axis=-1)[:, ~inside[..., 0]].mean()),
        images=results[best],
    )


def measure(product: Product) -> dict[tuple[int, float], Edited]:
    """Results by the number of views and the strength of the text; without a text one for all views."""
    count = IMAGES if product.budget.steps is None else 4
    product.train("clip", "configs/unclip/small_clip.py")
    product.train("shapes_pixels", "configs/blended_diffusion/small_shapes.py")
    rng = np.random.default_rng(0)
    there = [each for each in combinations("one") if isinstance(each, Placed) and each.position == POSITION]
    chosen = [there[i] for i in rng.permutation(len(there))[:count]]
    images = np.stack([draw(each, draw_jitter(rng)) for each in chosen])
    texts = [changed(each).captions[0] for each in chosen]
    mask = np.zeros((SIDE, SIDE, 3), np.uint8)
    mask[ROWS, COLUMNS] = 255
    files = [str(product.folder(f"blended_{name}.png")) for name in ("image", "mask")]
    for file, pixels in zip(files, (images[0], mask), strict=True):
        save_png(Path(file), pixels)
    model = trained_of(product.folder("shapes_pixels"))
    task = read_task(model.config, "blend", *files)
    settings = [(1, 0.0), *((views, USUAL_SCALE) for views in VIEWS), *((USUAL_VIEWS, scale) for scale in SCALES)]
    found = {}
    for views, scale in dict.fromkeys(settings):
        print(f"== {views} views, text_scale {scale:g}", file=sys.stderr, flush=True)
        options = {"views": views, "text_scale": scale}
        found[views, scale] = edit(model, product.folder("clip"), images, texts, task, **options)
    return found


def claims_of(found: dict[tuple[int, float], Edited]) -> list[Claim]:
    """What must hold of the edits."""
    usual, free = found[USUAL_VIEWS, USUAL_SCALE], found[1, 0.0]
    best = max((setting for setting in found), key=lambda setting: found[setting].ranked)
    how = f"{best[0]} views, text_scale {best[1]:g}"
    return [
        Claim("blended_background_exact", min(each.kept for each in found.values()), "", 1.0, ">=", "all settings"),
        Claim("blended_right_ranked", found[best].ranked, "", 0.5, ">=", f"nearest of {CANDIDATES}; {how}"),
        Claim("blended_text_helps", found[best].any - free.any, "", 0.2, ">=", f"over no text ({free.any:.3f})"),
        Claim("blended_views_help", usual.any - found[1, USUAL_SCALE].any, "", 0.0, ">=", f"{USUAL_VIEWS} over one"),
        Claim("blended_ranking_helps", found[best].ranked - found[best].any, "", 0.0, ">=", how),
    ]


def write(found: dict[tuple[int, float], Edited], command: str) -> None:
    """Puts a table and a strip of pictures into docs/results.md and docs/images/."""
    attributes = list(next(iter(found.values())).attributes)
    head = ("views", "text_scale", *attributes, "all right", f"nearest of {CANDIDATES} right")
    lines = [row(*head), "|" + "---:|" * len(head)]
    for (views, scale), each in found.items():
        shares = (*each.attributes.values(), each.any, each.ranked)
        lines.append(row(str(views), f"{scale:g}", *(f"{share:.3f}" for share in shares)))
    names = [f"{views} views, {scale:g}" for views, scale in found]
    labelled(DOCS / "images" / "blended_shapes.png", names, [each.images[:16] for each in found.values()])
    picture = "![Shapes painted anew as a text says, by views and strength](images/blended_shapes.png)"
    put_into_page(DOCS / "results.md", "blended_shapes", [made_by(command), "\n".join(lines), picture])


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/unclip"), help="where everything is kept")
    parser.add_argument("--docs", action="store_true", help="write docs/results.md and its picture")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="four steps each: that everything runs, no more")
    arguments = parser.parse_args()
    began, quick = time.monotonic(), arguments.quick
    product = Product(folder_of(arguments.out, 1, quick=quick), Budget.of(1, quick=quick))
    product.out.mkdir(parents=True, exist_ok=True)
    found = measure(product)
    if arguments.docs:
        write(found, f"python {' '.join(sys.argv)}")
    return emit("blended_shapes", claims_of(found), began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
