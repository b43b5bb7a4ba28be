"""The Frechet distance between two Gaussians (Heusel et al. 2017)."""

import numpy as np
from jaxtyping import Float

from score_jax.evaluation.statistics import Moments, moments


def _root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Symmetric square root; eigenvalues that rounding made negative count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def frechet_distance(*, generated: Moments, real: Moments) -> float:
    """||m1 - m2||² + Tr(S1 + S2 - 2 (S1 S2)^½), the trace of the root by eigenvalues of S1^½ S2 S1^½, in float64.

    Finite and real for singular covariances too (fewer images than features), where a general matrix root is not.
    """
    root = _root(generated.covariance)
    cross = np.linalg.eigvalsh(root @ real.covariance @ root)
    trace = np.trace(generated.covariance) + np.trace(real.covariance)
    trace -= 2 * np.sqrt(np.clip(cross, 0, None)).sum()
    return float(np.sum((generated.mean - real.mean) ** 2) + trace)


def bootstrap_standard_error(
    features: Float[np.ndarray, "n d"], real: Moments, *, seed: int = 0, resamples: int = 20
) -> float:
    """Standard error of the distance from resampling the generated features (n, d) with replacement."""
    rng = np.random.default_rng(seed)
    draws = (features[rng.integers(0, len(features), len(features))] for _ in range(resamples))
    return float(np.std([frechet_distance(generated=moments(draw), real=real) for draw in draws], ddof=1))
