"""`python -m score_jax VERB`."""

import importlib.metadata
import os
import sys


def _quiet_compile_cache() -> None:
    """Keeps jaxlib before 0.10.2 from taking each program of its own cache for another machine's, in 6 kB of text.

    It compares what LLVM was asked with what the processor has, and runs the program all the same. The variable is read
    where jaxlib is first imported.
    """
    by_jax = "1"  # which a program that imported JAX leaves to the processes that it starts
    chosen = os.environ.get("TF_CPP_MIN_LOG_LEVEL", by_jax) != by_jax
    if importlib.metadata.version("jaxlib") in ("0.10.0", "0.10.1") and not chosen:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main() -> None:
    """Runs the command line, of `python -m score_jax` and of the console script `score_jax` alike."""
    _quiet_compile_cache()
    here = os.getcwd()
    if here not in sys.path and not sys.flags.safe_path:
        sys.path.insert(0, here)  # which `python -m` has done: --features=MODULE:FUNCTION finds modules here
    from score_jax.cli.main import main as run

    sys.exit(run(sys.argv))


if __name__ == "__main__":
    main()
