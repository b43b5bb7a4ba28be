"""Rematerialisation: which blocks are recomputed in the backward pass instead of stored."""

import flax.linen as nn

from score_jax.errors import unknown_name

REMAT_KINDS = ("residual", "attention")


def remat_blocks(kinds: tuple[str, ...], kind: str, block: type[nn.Module], train_argument: int = 0) -> type[nn.Module]:
    """`block`, recomputed if its `kind` is among `kinds`.

    Args:
      kinds: the config's choice, of `REMAT_KINDS`.
      kind: of this block.
      block: the module.
      train_argument: position of the static `train` in its call, self being 0; 0: it has none.

    Raises:
      InputError: a chosen kind is unknown.
    """
    for chosen in kinds:
        if chosen not in REMAT_KINDS:
            raise unknown_name("network.remat", chosen, REMAT_KINDS)
    if kind not in kinds:
        return block
    return nn.remat(block, static_argnums=(train_argument,) if train_argument else ())
