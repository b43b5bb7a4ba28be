"""Where compiled programs are kept, for all verbs and all processes of a job.

JAX has the first process write them and every process read them. So the processes of a job share one place, and what a
process compiles for its own devices alone, which is little, the others but the first compile again.
"""

from collections.abc import Mapping

import jax
from etils import epath
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from score_jax.runtime.cache import cache_folder

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
"""Of the environment: names the place."""
FOLDER = "compiled"
"""Of a run of several processes, beside its checkpoints."""
_SETTING = "jax_compilation_cache_dir"


def compile_cache(environment: Mapping[str, str], checkpoints: epath.Path | None = None) -> str:
    """Returns the place: what the environment says, else beside the checkpoints, else in the cache of the person.

    Args:
      environment: its variables.
      checkpoints: of the run that several processes work on, which all of them see; None: there is one process.
    """
    if named := environment.get(VARIABLE):
        return named
    return str(cache_folder("jax") if checkpoints is None else checkpoints / FOLDER)


def keep_compiled(place: str) -> None:
    """Keeps what is compiled from now on in `place`, a folder or gs://..., and looks for it there."""
    if getattr(jax.config, _SETTING) == place:
        return
    jax.config.update(_SETTING, place)
    if "://" in place:  # what XLA measures of kernels on GPUs lies there too, and XLA knows folders alone
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    reset_cache()  # JAX looks at the place once
