"""Are samples copies of training data? Authenticity and the test of data-copying, by features of any network."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans, vq

from score_jax.errors import InputError
from score_jax.evaluation.neighbours import nearest_rows
from score_jax.evaluation.statistics import moments

FEWEST_OF_A_CELL = 20
"""Samples of which a cell has more where it is counted."""
_STARTS = 10
Rows = Float[np.ndarray, "m d"]
Training = Float[np.ndarray, "l d"]
InCells = tuple[Float[np.ndarray, "_ d"], Int[np.ndarray, "_"]]
"""Features, and the cell of each, from 0 up."""


def authenticity(*, generated: Rows, training: Training) -> float:
    """Returns the share of samples that are no copies: 0 of a copier.

    A sample counts as a copy where it is as near to its nearest training image as that image is to the nearest other
    one, or nearer. So fresh draws of the training data's own law do not score 1. In one dimension they score 1/3, in
    two 0.38; in many 1/2 where no place is special, as on a sphere, and more where points near the centre are nearest
    to all others (0.9 of a Gaussian in 500 dimensions): compare with the authenticity of held-out images.

    Source: Alaa et al. 2022 (arXiv 2102.08921); dgm-eval's `authpct` is 100 times this.

    Raises:
      InputError: there are fewer than two training images.

    >>> rng = np.random.default_rng(0)
    >>> training, fresh = rng.normal(size=(2, 1000, 1))
    >>> round(authenticity(generated=fresh, training=training), 1), authenticity(generated=training, training=training)
    (0.3, 0.0)
    """
    if len(training) < 2:
        raise InputError(
            f"Authenticity compares distances between training images: give 2 or more, not {len(training)}."
        )
    near = nearest_rows(generated, training)
    asked, place = np.unique(near.row, return_inverse=True)
    own = nearest_rows(training[asked], training, itself=asked).squared
    return float((own[place] < near.squared).mean())


def copying_score(*, generated: Float[np.ndarray, "m"], held_out: Float[np.ndarray, "n"]) -> float:
    """Returns how much farther from the training data samples are than held-out images: a standard normal if they are
    of one law, far below 0 of copies, far above 0 of a model that misses the data.

    The Mann-Whitney U of the two sets of distances, less its mean and over its standard deviation, as the authors'
    code has them: the mean is less by 1/2, and ties do not narrow the deviation.

    Args:
      generated: distances of samples to the nearest training image, or any function of them that grows.
      held_out: those of held-out images.

    Source: Meehan, Chaudhuri & Dasgupta 2020 (arXiv 2004.05675), section 3.1.
    """
    m, n = len(generated), len(held_out)
    ascending = np.sort(held_out)
    u = sum(np.searchsorted(ascending, generated, side).sum() for side in ("left", "right")) / 2
    return float((u - (m * n / 2 - 0.5)) / np.sqrt(m * n * (m + n + 1) / 12))


@dataclasses.dataclass(frozen=True)
class Copying:
    """The test of data-copying.

    Attributes:
      value: C_T, the mean of the cells' scores over held-out images; far below 0 where samples are copies.
      scores: of the cells (k,); NaN where there are too few samples, or no held-out image.
      held_out: images of each (k,).
      generated: samples of each (k,).
    """

    value: float
    scores: Float[np.ndarray, "k"]
    held_out: Int[np.ndarray, "k"]
    generated: Int[np.ndarray, "k"]


def data_copying(
    *,
    generated: Rows,
    held_out: Float[np.ndarray, "n d"],
    training: Training,
    cells: int = 3,
    components: int = 64,
    fewest: int = FEWEST_OF_A_CELL,
    seed: int = 0,
) -> Copying:
    """Returns C_T with dgm-eval's settings: cells are found by k-means among the training data's principal components.

    Args:
      generated: features of samples.
      held_out: of images of the training data's law, which were not trained on.
      training: of the images that were.
      cells: wanted.
      components: of longer features.
      fewest: samples of a cell that does not count, or fewer.
      seed: of k-means.

    Source: Meehan et al. 2020, section 3.2; the settings are those of Stein et al. 2023 (arXiv 2306.04675).

    Raises:
      InputError: there are fewer training images than cells, or as `copying_in_cells`.
    """
    if len(training) < cells:
        raise InputError(f"C_T: {cells} cells of {len(training)} training images: give more images.")
    sets = _principal((training, held_out, generated), components)
    centres = kmeans(sets[0], cells, iter=_STARTS, seed=seed)[0]
    found = [vq(rows, centres)[0] for rows in sets]
    named = dict(zip(("training", "held_out", "generated"), zip(sets, found, strict=True), strict=True))
    return copying_in_cells(**named, fewest=fewest)


def copying_in_cells(
    *, generated: InCells, held_out: InCells, training: InCells, fewest: int = FEWEST_OF_A_CELL
) -> Copying:
    """Returns C_T over cells that are given: distances are to training images of the same cell.

    A cell without held-out images has no weight.

    Raises:
      InputError: a cell has no training image, or none has more than `fewest` samples and a held-out image.
    """
    count = 1 + max(int(cells.max()) for _, cells in (generated, held_out, training))
    of_cells = [[rows[cells == i] for i in range(count)] for rows, cells in (generated, held_out, training)]
    scores = np.full(count, np.nan)
    for i, (samples, fresh, trained) in enumerate(zip(*of_cells, strict=True)):
        if not len(trained):
            raise InputError(f"C_T: cell {i} of {count} has no training image: take cells of the training images.")
        if len(samples) > fewest and len(fresh):
            distances = (nearest_rows(rows, trained).squared for rows in (samples, fresh))
            scores[i] = copying_score(**dict(zip(("generated", "held_out"), distances, strict=True)))
    counts = [np.array([len(rows) for rows in cells]) for cells in of_cells[:2]]
    counted = ~np.isnan(scores)
    if not counted.any():
        raise InputError(
            f"C_T needs a cell with more than {fewest} samples and a held-out image; the cells have "
            f"{counts[0].tolist()} samples and {counts[1].tolist()} held-out images: give more."
        )
    value = float(np.average(scores[counted], weights=counts[1][counted]))
    return Copying(value, scores, held_out=counts[1], generated=counts[0])


def _principal(sets: tuple[np.ndarray, ...], components: int) -> list[np.ndarray]:
    """Sets (n, d) in float64 and, where they have more, in the principal components of the first one."""
    known = moments(sets[0])
    if len(known.mean) <= components:
        return [rows.astype(np.float64) for rows in sets]
    axes = np.linalg.eigh(known.covariance)[1][:, -components:]
    return [(rows - known.mean) @ axes for rows in sets]
