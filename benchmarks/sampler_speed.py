"""Claims of `samplers.py` beside the original loops: whole samplers, from noise to images, in turns."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from peer import Peer, peer_of
from published import PUBLISHED, Ours, random_images

from report import Claim


@dataclasses.dataclass(frozen=True)
class Loop:
    """One sampler on both sides.

    Attributes:
      model: of `PUBLISHED`.
      method: what the original calls it.
      ours: our `sampler` section, less the steps.
      adaptive: it chooses its steps by itself.
    """

    model: str
    method: str
    ours: dict[str, Any]
    adaptive: bool = False


LOOPS = {
    "pc": Loop("ncsnpp_cifar10", "pc", {"discretisation": "score_sde"}),
    "ode": Loop("ncsnpp_cifar10", "ode", {"name": "ode", "solver": "dopri5"}, adaptive=True),
    "ddim": Loop("adm64", "ddim", {"name": "ddim"}),
}
"""Score SDE's predictor-corrector and probability flow (RK45, 1e-5), ADM's DDIM."""


def loop_claims(
    python: Path, references: list[str], folder: Path, names: list[str], *, b: int, steps: int, rounds: int
):
    """Median time of the original loop over ours, of a batch of b with the network as published, in float32."""
    claims = []
    for name in names:
        with peer_of(python, "torch_originals.py", *references) as peer:
            claims.append(_claim(name, LOOPS[name], peer, folder, b, steps, rounds))
    return claims


def _claim(name: str, loop: Loop, peer: Peer, folder: Path, b: int, steps: int, rounds: int) -> Claim:
    size = PUBLISHED[loop.model].config.get_config().data.image_size
    images, weights = random_images(b, size), folder / "weights.pth"
    np.save(folder / "images.npy", np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    peer.ask("load", model=loop.model, mode="eager", images=str(folder / "images.npy"), weights=str(weights))
    ours = Ours(loop.model, weights, images, "float32")
    many = {"respacing": f"ddim{steps}"} if name == "ddim" else {"num_steps": steps}
    draw = ours.sampler(**loop.ours, **({} if loop.adaptive else many))
    draw()
    pairs, nfe, other_nfe = [], 0, 0
    for _ in range(rounds):
        began = time.perf_counter()
        _, nfe = draw()
        here = time.perf_counter() - began
        answer = peer.ask("sample", method=loop.method, steps=steps)
        pairs.append((here, answer["seconds"]))
        other_nfe = answer["nfe"]
    here, there = (np.array(column) for column in zip(*pairs, strict=True))
    how = f"{b} images of {size} x {size}, {loop.model}: {np.median(here):.1f} s and NFE {nfe} here, "
    how += f"{np.median(there):.1f} s and NFE {other_nfe} there; {rounds} pairs, "
    how += f"{(there / here).min():.2f} to {(there / here).max():.2f}, on {jax.default_backend()}"
    return Claim(f"ratio_{name}", float(np.median(there) / np.median(here)), "", 2.0, ">=", how)
