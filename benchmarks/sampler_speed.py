"""Claims of `samplers.py` beside the original loops: whole samplers, from noise to images, in turns."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer import Peer, peer_of
from published import both_sides

from report import Claim, ratio_claim, timed


@dataclasses.dataclass(frozen=True)
class Loop:
    """One sampler on both sides.

    Attributes:
      model: of `PUBLISHED`.
      method: what the original calls it.
      ours: our `sampler` section, of the number of steps.
    """

    model: str
    method: str
    ours: Callable[[int], dict[str, Any]]


LOOPS = {
    "pc": Loop("ncsnpp_cifar10", "pc", lambda steps: {"discretisation": "score_sde", "num_steps": steps}),
    "ode": Loop("ncsnpp_cifar10", "ode", lambda steps: {"name": "ode", "solver": "dopri5"}),
    "ddim": Loop("adm64", "ddim", lambda steps: {"name": "ddim", "respacing": f"ddim{steps}"}),
}
"""Score SDE's predictor-corrector and probability flow (RK45, 1e-5, which chooses its steps), ADM's DDIM."""


def loop_claims(
    python: Path, references: list[str], folder: Path, names: list[str], *, b: int, steps: int, rounds: int
) -> list[Claim]:
    """Median time of the original loop over ours, of a batch of b with the network as published, in float32."""
    claims = []
    for name in names:
        with peer_of(python, "torch_originals.py", *references) as peer:
            claims.append(_claim(name, LOOPS[name], peer, folder, b, steps, rounds))
    return claims


def _claim(name: str, loop: Loop, peer: Peer, folder: Path, b: int, steps: int, rounds: int) -> Claim:
    ours, how = both_sides(loop.model, peer, folder, b)
    draw = ours.sampler(**loop.ours(steps))
    draw()
    pairs, nfe, answer = [], 0, {}
    for _ in range(rounds):
        here, (_, nfe) = timed(draw)
        answer = peer.ask("sample", method=loop.method, steps=steps)
        pairs.append((here, answer["seconds"]))
    return ratio_claim(f"ratio_{name}", pairs, 2.0, f"{how}, NFE {nfe} here and {answer['nfe']} there")
