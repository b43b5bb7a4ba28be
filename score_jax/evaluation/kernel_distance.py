"""The kernel distance KID: unbiased squared MMD under a cubic kernel (Binkowski et al. 2018)."""

import numpy as np
from jaxtyping import Float


def cubic_kernel(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """(x·y / d + 1)³."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def squared_mmd(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """Unbiased estimate of the squared MMD between the laws of x and y; negative by chance when they are equal."""
    n, m = len(x), len(y)
    kxx, kyy, kxy = cubic_kernel(x, x), cubic_kernel(y, y), cubic_kernel(x, y)
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def kernel_distance(
    *,
    generated: Float[np.ndarray, "n d"],
    real: Float[np.ndarray, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation of the squared MMD over random subsets, features in float64.

    Subsets are drawn without replacement, `subset_size` or half of the smaller set, so that they differ.
    """
    generated, real = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    size, rng = min(subset_size, len(generated) // 2, len(real) // 2), np.random.default_rng(seed)
    values = [
        squared_mmd(
            generated[rng.choice(len(generated), size, replace=False)],
            real[rng.choice(len(real), size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))
