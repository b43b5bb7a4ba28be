"""Fields of networks that take one of a few names."""

from collections.abc import Collection, Mapping

import flax.linen as nn

from score_jax.errors import unknown_name


def check_choices(network: nn.Module, choices: Mapping[str, Collection[str]]) -> None:
    """Refuses a network one of whose fields is not among its choices.

    Raises:
      InputError: which field, and what is known.
    """
    for field, known in choices.items():
        if getattr(network, field) not in known:
            raise unknown_name(f"network.{field}", getattr(network, field), known)
