"""The Inception Score exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016), over splits as each evaluator cuts them."""

import itertools

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax, logsumexp

Logits = Float[np.ndarray, "n k"]
_SHUFFLE_SEED = 2020


def score(logits: Logits) -> float:
    """Returns the score of one split, in float64."""
    log_p = log_softmax(np.asarray(logits, np.float64), axis=1)
    log_marginal = logsumexp(log_p, axis=0) - np.log(len(log_p))
    return float(np.exp(np.mean(np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1))))


def _mean_and_std(splits: list[Float[np.ndarray, "_ k"]]) -> tuple[float, float]:
    scores = [score(split) for split in splits]
    return float(np.mean(scores)), float(np.std(scores))


def in_splits(logits: Logits, splits: int = 10, permutation: np.ndarray | None = None) -> tuple[float, float]:
    """Mean and standard deviation over equal splits, the i-th from i n // splits on; torch-fidelity's.

    Args:
      logits: without the last layer's bias.
      splits: how many.
      permutation: of the rows beforehand.
    """
    rows = logits if permutation is None else logits[permutation]
    bounds = [i * len(rows) // splits for i in range(splits + 1)]
    parts = [rows[start:stop] for start, stop in itertools.pairwise(bounds)]
    return _mean_and_std([part for part in parts if len(part)])


def shuffled(logits: Logits) -> tuple[float, float]:
    """Returns `in_splits` of ten splits, after torch-fidelity's own shuffle."""
    return in_splits(logits, permutation=np.random.RandomState(_SHUFFLE_SEED).permutation(len(logits)))


def in_chunks(logits: Logits, size: int = 5000) -> tuple[float, float]:
    """Mean and standard deviation over consecutive chunks, a short last one counting as much; guided-diffusion's."""
    return _mean_and_std([logits[start : start + size] for start in range(0, len(logits), size)])
