"""Score-based diffusion models in JAX: train, sample, measure likelihood and FID.

    import score_jax as sj

    sj.evaluate(draw, reference="cifar10:train", workdir="runs/fid")        # FID of any sampler, by a named protocol
    sj.bits_per_dim(model, sj.VP(), images, workdir="runs/bits")            # exact likelihood of any model, with errors
    sj.log_prob(model, sj.VP(), x)                                          # log densities of any data, nats
    sj.sample(model, sj.Flow(), (64, 32, 32, 3), output="velocity")         # by any of our solvers
    sj.compare("samples.npz", "cifar10:train")                              # FID of two sets of images

Each has a runnable example: `help(sj.evaluate)`. docs/python.md says what a model and its process may be.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from score_jax.api.evaluate import compare, evaluate
    from score_jax.api.likelihood import bits_per_dim, log_prob
    from score_jax.api.sample import sample, sampler
    from score_jax.errors import InputError
    from score_jax.processes.chain import ve_chain, vp_chain
    from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, LinearVE, SubVP
    from score_jax.runtime.parts import Interrupted

_HOME = {
    **dict.fromkeys(("evaluate", "compare"), "api.evaluate"),
    **dict.fromkeys(("bits_per_dim", "log_prob"), "api.likelihood"),
    **dict.fromkeys(("sample", "sampler"), "api.sample"),
    **dict.fromkeys(("EDM", "VE", "VP", "Cosine", "Flow", "LinearVE", "SubVP"), "processes.gaussian"),
    **dict.fromkeys(("ve_chain", "vp_chain"), "processes.chain"),
    "InputError": "errors",
    "Interrupted": "runtime.parts",
}
"""Where the public names are; they are imported when they are asked for, so that this package imports at once."""

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Cosine",
    "Flow",
    "InputError",
    "Interrupted",
    "LinearVE",
    "SubVP",
    "bits_per_dim",
    "compare",
    "evaluate",
    "log_prob",
    "sample",
    "sampler",
    "ve_chain",
    "vp_chain",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
