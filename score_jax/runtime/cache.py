"""Where what was computed once of a person's files is kept for the next command."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Returns the folder of one kind of such files: in $SCORE_JAX_CACHE, or else in a folder in the home folder."""
    return Path(os.environ.get("SCORE_JAX_CACHE", "~/.cache/score_jax")).expanduser() / kind
