"""Mutants that no test can kill, each with the reason: what changes is never seen, or as right as what was there."""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "score_jax/evaluation/manifold.py",
        "if nearest.shape[1] > k + 1:",
        "1 -> 0 (2)",
    ): "of k + 1 columns the k + 1 nearest are all of them",
    (
        "score_jax/evaluation/resize.py",
        "places = np.clip(places, 0, length - 1)",
        "length - 1 -> length + 1",
    ): "no place is beyond the last pixel by a pixel, and within it both neighbours are the last pixel",
    (
        "score_jax/evaluation/neighbours.py",
        "chunk = training[start : start + _CHUNK].reshape(-1, queries.shape[1]).astype(np.float64)",
        "1 -> 2",
    ): "NumPy finds the length of an axis that is called -2 as it does of -1",
    (
        "score_jax/guidance/views.py",
        "return np.array([[2 / w, 0, (1 - w) / w], [0, 2 / h, (1 - h) / h], [0, 0, 1]])",
        "2 / h -> 2 * h",
    ): "coordinates in which a homography is inverted, and left again: any scale will do but for rounding",
    (
        "score_jax/likelihood/divergence.py",
        "return jnp.zeros((0, dim), dtype)",
        "jnp.zeros((0, dim), dtype) -> jnp.ones((0, dim), dtype)",
    ): "no probes have no values",
    (
        "score_jax/likelihood/ode.py",
        "error = divergence.standard_error(parts, x[0].size)",
        "0 -> 1",
    ): "examples of a batch have one size, and of one alone JAX takes the last for the next",
    (
        "score_jax/processes/interpolated.py",
        "if (rise * np.sign(values[-1] - values[0]) >= 0).all():",
        "rise * np.sign(values[-1] - values[0]) >= 0 -> rise * np.sign(values[-1] - values[0]) > 0",
    ): "a spline that does not turn stands still only where its levels are equal to rounding, and so does the other",
    (
        "score_jax/samplers/heun.py",
        "growth = jnp.where(gamma > 0, process.noise_to_signal(later) / level - 1, 0.0)",
        "gamma > 0 -> gamma >= 0",
    ): "without churn the later level is the same one, and its growth 0",
    (
        "score_jax/guidance/views.py",
        "return np.array([[2 / w, 0, (1 - w) / w], [0, 2 / h, (1 - h) / h], [0, 0, 1]])",
        "2 -> 1 (2)",
    ): "as above: another scale of the same coordinates",
}
"""By the file, the line's content and the change, as `mutation.py` prints them."""
