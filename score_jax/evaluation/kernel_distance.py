"""The kernel distance KID: unbiased squared MMD (Binkowski et al. 2018), and its relatives."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "n d"]
Kernel = Callable[[Rows, Float[np.ndarray, "m d"]], Float[np.ndarray, "n m"]]
_TFGAN_BLOCK = 1024
_CMMD_SCALE = 1000


def polynomial(degree: int = 3, gamma: float | None = None, coef0: float = 1.0) -> Kernel:
    """Returns (gamma x·y + coef0)^degree; gamma is 1 / d unless given."""

    def kernel(x, y):
        return (x @ y.T * (1 / x.shape[1] if gamma is None else gamma) + coef0) ** degree

    return kernel


def gaussian(sigma: float) -> Kernel:
    """Returns exp(-|x - y|² / (2 sigma²))."""

    def kernel(x, y):
        squares = (x**2).sum(1)[:, None] - 2 * x @ y.T + (y**2).sum(1)
        return np.exp(-np.maximum(squares, 0) / (2 * sigma**2))

    return kernel


cubic_kernel = polynomial()
"""(x·y / d + 1)³, KID's."""


def squared_mmd(x: Rows, y: Float[np.ndarray, "m d"], kernel: Kernel = cubic_kernel) -> float:
    """Unbiased estimate of the squared MMD between the laws of x and y; negative by chance when they are equal."""
    n, m = len(x), len(y)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def kernel_distance(
    *,
    generated: Rows,
    real: Float[np.ndarray, "m d"],
    size: int | None = None,
    subsets: int = 100,
    seed: int = 2020,
    kernel: Kernel = cubic_kernel,
) -> tuple[float, float]:
    """Mean and standard deviation of the squared MMD over random subsets, in float64; torch-fidelity's seed by default.

    Subsets of `size` rows, by default `subset_size`'s, are drawn without replacement, first of the generated and then
    of the real features.
    """
    size = subset_size(len(generated), len(real)) if size is None else size
    rng = np.random.RandomState(seed)

    def drawn(features: np.ndarray) -> np.ndarray:
        return np.asarray(features[rng.choice(len(features), size, replace=False)], np.float64)

    values = [squared_mmd(drawn(generated), drawn(real), kernel) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def subset_size(generated: int, real: int, *, most: int = 1000, halved: bool = True) -> int:
    """Rows of a subset of these numbers of features: `most`, or as many as the smaller set has, or half of them.

    clean-fid takes the smaller set whole, so that its subsets are one and the same; torch-fidelity refuses sets below
    1000. Halved subsets differ, so that their spread says something.
    """
    fewest = min(generated, real)
    return min(most, fewest // 2 if halved else fewest)


def kernel_distance_in_blocks(*, generated: Rows, real: Float[np.ndarray, "m d"]) -> tuple[float, float | None]:
    """Mean over consecutive blocks of about 1024, and its standard error; TFGAN's, which score_sde reports.

    One block has no standard error (None).

    Both sets are cut in their order into as many blocks, the last ones one longer where they do not divide.
    """
    count = math.ceil(max(len(generated), len(real)) / _TFGAN_BLOCK)
    count = max(1, min(count, len(generated) // 2, len(real) // 2))

    def blocks(features: np.ndarray) -> list[np.ndarray]:
        bounds = np.full(count, len(features) // count)
        bounds[count - len(features) % count :] += 1
        return np.split(features, np.cumsum(bounds)[:-1])

    pairs = zip(blocks(generated), blocks(real), strict=True)
    values = [squared_mmd(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in pairs]
    error = float(np.std(values, ddof=1) / math.sqrt(count)) if count > 1 else None
    return float(np.mean(values)), error


def cmmd(*, generated: Rows, real: Float[np.ndarray, "m d"], sigma: float = 10.0) -> float:
    """CMMD (Jayasumana et al. 2024): 1000 times the biased squared MMD under a Gaussian kernel, of CLIP embeddings.

    The embeddings are expected of length 1. The bias is (1 / n + 1 / m) 1000 (1 - k), k the kernel's mean over pairs of
    one law: 10 / n + 10 / m for embeddings at right angles, less for others. By blocks: any number fits into memory.
    """
    kernel = gaussian(sigma)

    def blocks(x: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(x[i : i + _TFGAN_BLOCK], np.float64) for i in range(0, len(x), _TFGAN_BLOCK)]

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return sum(kernel(a, b).sum() for a in blocks(x) for b in blocks(y)) / (len(x) * len(y))

    return float(_CMMD_SCALE * (mean(generated, generated) + mean(real, real) - 2 * mean(generated, real)))
