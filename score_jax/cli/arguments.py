"""Arguments of the verbs that have no config, by argparse."""

import argparse
from typing import NoReturn

from score_jax.errors import InputError


class VerbParser(argparse.ArgumentParser):
    """Parses the arguments of a verb; a mistake in them is one line, as of the other verbs."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(
            prog=f"score_jax {verb}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._verb = verb

    def error(self, message: str) -> NoReturn:
        """Raises InputError, which the command line prints."""
        said = message[:1].upper() + message[1:].rstrip(".")
        raise InputError(f"{said}. `score_jax {self._verb} --help` lists the arguments.")
