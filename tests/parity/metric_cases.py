"""Cases of the metrics; a name says whose convention it has, where evaluators differ."""

import numpy as np

from score_jax.evaluation import inception_score, kernel_distance
from score_jax.evaluation.frechet import frechet_distance
from score_jax.evaluation.manifold import manifold, realism, squared_distances, squared_distances_in_half, squared_radii
from score_jax.evaluation.statistics import moments

OWN_ROUNDING = (
    r"out/(np64_fid_(?!svd)|np64_gd_splitsize|np64_(poly|poly2|rbf)_(mean|std)$|np64_clean_fid|np64_tf_\w+_k\d+_|gd_)"
)
"""Outputs with the rounding of an original in them (float32 means, kernels or logits, a matrix square root)."""


def allowed(name: str, reference: np.ndarray, tolerance: dict) -> np.ndarray:
    """What such an output may differ by: counts are equal, rates up to float32's rounding of them."""
    if "_fid_" in name:
        return 1e-4 * np.abs(reference) + tolerance["atol"]
    if "rates" not in tolerance:
        return tolerance["rtol"] * np.abs(reference)
    if "radii" in name or "realism" in name:
        return tolerance["radii_rtol"] * np.abs(reference)
    return 1e-6 * np.abs(reference) + 1e-300


def _columns(file, name: str) -> np.ndarray:
    """Features, of maps the first channels, flattened rows first."""
    features = file.group("in")[name]
    return features if features.ndim == 2 else features[..., :7].reshape(len(features), -1)


def run_frechet(file, dtype):
    """One distance stands for all implementations: those that failed on a singular matrix have NaN."""
    one, other = (moments(_columns(file, f"features_{i}")) for i in (1, 2))
    value = frechet_distance(generated=one, real=other)
    found = {f"out/{name}": np.array(value) for name in file.group("out") if name.startswith("np64_fid_")}
    found |= {"out/mu_1": one.mean, "out/np64_mu_1_float64": one.mean}
    sigma = {"np64_sigma_1": one.covariance, "np64_sigma_1_diag": np.diag(one.covariance)}
    return found | {f"out/{name}": value for name, value in sigma.items() if name in file.group("out")}


def run_inception_score(file, dtype):
    """Splits and chunks of all sizes in the file."""
    logits, permutation = file.group("in")["logits"], file.group("in")["permutation"]
    found = {}
    for splits in file.meta["config"]["splits"]:
        for name, order in (("noshuffle", None), ("shuffle", permutation)):
            mean, std = inception_score.in_splits(logits, splits, order)
            found |= {f"out/np64_tf_{name}_s{splits}_mean": mean, f"out/np64_tf_{name}_s{splits}_std": std}
    for size in file.meta["config"]["split_sizes"]:
        found[f"out/np64_gd_splitsize{size}"] = inception_score.in_chunks(logits, size)[0]
    return found


def run_kernel_distance(file, dtype):
    """Kernels over the subsets that the file draws."""
    given = file.group("in")
    one, other = (given[f"features_{i}"].astype(np.float64) for i in (1, 2))
    rows = list(zip(given["subset_idx_1"], given["subset_idx_2"], strict=True))

    def each(kernel):
        return np.array([kernel_distance.squared_mmd(one[i], other[j], kernel) for i, j in rows])

    kernels = {
        "poly": kernel_distance.polynomial(),
        "poly2": kernel_distance.polynomial(2, 0.02, 0.5),
        "rbf": kernel_distance.gaussian(file.meta["config"]["rbf_sigma"]),
    }
    values = {name: each(kernel) for name, kernel in kernels.items()}
    found = {f"out/np64_{name}_mean": value.mean() for name, value in values.items()}
    found |= {f"out/np64_{name}_std": value.std() for name, value in values.items()}
    return found | {"out/np64_poly_per_subset_float64": values["poly"], "out/np64_clean_fid": values["poly"].mean()}


def run_manifold(file, dtype):
    """guided-diffusion's squared distances, exact and in float16, and torch-fidelity's plain ones."""
    sets = {"generated": file.group("in")["generated"], "real": file.group("in")["reference"]}
    ks = file.meta["config"]["neighborhoods"]
    exact, half = (
        [manifold(**sets, k=k, squares=squares) for k in ks]
        for squares in (squared_distances, squared_distances_in_half)
    )
    found = {}
    for k, shared in zip(ks, exact, strict=True):
        for way in ("full", "part"):
            found |= {f"out/np64_tf_{way}_k{k}_{name}": getattr(shared, name) for name in ("precision", "recall")}
    for name in ("precision", "recall"):
        found[f"out/np64_gd_{name}"] = np.array([getattr(shared, name) for shared in exact])
        found[f"out/np64_gd_half_{name}"] = np.array([getattr(shared, name) for shared in half])
    radii = {name: np.stack([squared_radii(rows, k) for k in ks], axis=1) for name, rows in sets.items()}
    found |= {"out/gd_radii_reference": radii["real"], "out/gd_radii_generated": radii["generated"]}
    squares = squared_distances(sets["generated"], sets["real"])
    inside = (squares[:, :, None] <= radii["real"]).any(axis=1)
    found |= {"out/gd_in_reference_manifold": inside.astype(np.int32), "out/gd_nearest": squares.argmin(axis=1)}
    return found | {"out/gd_realism": realism(**sets, k=ks[0])}


HANDLERS = {
    ("metrics", "fid_"): run_frechet,
    ("metrics", "sfid_"): run_frechet,
    ("metrics", "inception_score"): run_inception_score,
    ("metrics", "kid"): run_kernel_distance,
    ("metrics", "precision_recall"): run_manifold,
}
