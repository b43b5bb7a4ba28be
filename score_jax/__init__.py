"""Score-based diffusion models in JAX: train, sample, measure likelihood and FID.

    import score_jax as sj

    sj.evaluate(draw, reference="cifar10:train")   # FID and similar metrics of any sampler, under a named protocol
    sj.compare("samples.npz", "cifar10:train")     # the same of two sets of images

Each has a runnable example: `help(sj.evaluate)`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from score_jax.api.evaluate import compare, evaluate
    from score_jax.errors import InputError
    from score_jax.runtime.parts import Interrupted

_HOME = {
    "evaluate": "api.evaluate",
    "compare": "api.evaluate",
    "InputError": "errors",
    "Interrupted": "runtime.parts",
}
"""Where the public names are, imported when they are asked for: this package takes no time to import."""

__all__ = ["InputError", "Interrupted", "compare", "evaluate"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
