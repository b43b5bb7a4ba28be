"""Every Gaussian process in continuous time, by its name in a config."""

from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, GaussianProcess, LinearVE, SubVP


def every_process(sigma_max: float) -> dict[str, GaussianProcess]:
    """All seven; `sigma_max` is VE's."""
    return {
        "ve": VE(0.01, sigma_max),
        "vp": VP(),
        "sub_vp": SubVP(),
        "edm": EDM(),
        "linear_ve": LinearVE(10.0),
        "flow": Flow(),
        "cosine": Cosine(),
    }
