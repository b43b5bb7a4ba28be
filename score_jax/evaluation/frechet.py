"""The Frechet distance between two Gaussians (Heusel et al. 2017, eq. 6)."""

import numpy as np
from jaxtyping import Float
from scipy.linalg.lapack import dpstrf

from score_jax.evaluation.statistics import Moments, moments


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d k"]:
    """R with R Rᵀ = matrix, of as many columns as its rank, by Cholesky's rule on the largest pivot left.

    A pivot within rounding of the largest one is no pivot: the root of rounding is far above rounding.
    """
    factor, order, rank, _ = dpstrf(matrix, lower=1)
    root = np.empty((len(matrix), rank))
    root[order - 1] = np.tril(factor)[:, :rank]
    return root


def frechet_distance(*, generated: Moments, real: Moments) -> float:
    """Returns ||m1 - m2||² + Tr(S1 + S2 - 2 (S1 S2)^½), in float64.

    The trace of the root is the sum of the singular values of R1ᵀ R2, Ri Riᵀ = Si. Nothing is squared on the way, as
    in the eigenvalues of S1 S2 or of R1ᵀ S2 R1, whose roots turn an error of 1e-16 into one of 1e-8; and R exists for
    singular covariances (fewer images than features), where a general matrix root does not. It takes a small part of
    the time, so there is nothing to keep between distances to one reference.

    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(1000, 4))
    >>> shifted = moments(features + 1.0)
    >>> round(frechet_distance(generated=shifted, real=moments(features)), 6)
    4.0
    """
    cross = np.linalg.svd(_root(generated.covariance).T @ _root(real.covariance), compute_uv=False).sum()
    spread = np.trace(generated.covariance) + np.trace(real.covariance) - 2 * cross
    return float(np.sum((generated.mean - real.mean) ** 2) + spread)


def bootstrap_standard_error(
    features: Float[np.ndarray, "n d"], real: Moments, *, seed: int = 0, resamples: int = 20
) -> float:
    """Returns the standard error of the distance, by resampling the generated features (n, d) with replacement."""
    rng = np.random.default_rng(seed)
    draws = (features[rng.integers(0, len(features), len(features))] for _ in range(resamples))
    return float(np.std([frechet_distance(generated=moments(draw), real=real) for draw in draws], ddof=1))
