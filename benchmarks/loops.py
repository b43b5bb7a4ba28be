"""Claims of `samplers.py` and `likelihood.py` beside the original loops: whole solves, end to end, in turns."""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from peer import Peer, peer_of
from published import Ours, both_sides

from report import Claim, ratio_claim, timed


@dataclasses.dataclass(frozen=True)
class Loop:
    """One solve on both sides.

    Attributes:
      model: of `PUBLISHED`.
      asked: of the original: "sample" or "likelihood".
      request: with what, of the flags.
      ours: from our model and the flags to a function that solves once and returns the result and the NFE.
      target: of the ratio.
    """

    model: str
    asked: str
    request: Callable[[argparse.Namespace], dict]
    ours: Callable[[Ours, argparse.Namespace], Callable[[], tuple]]
    target: float


def _sampler(model: str, method: str, section: Callable[[int], dict]) -> Loop:
    return Loop(
        model,
        "sample",
        lambda flags: {"method": method, "steps": flags.loop_steps},
        lambda ours, flags: ours.sampler(**section(flags.loop_steps)),
        2.0,
    )


SAMPLERS = {
    "pc": _sampler("ncsnpp_cifar10", "pc", lambda steps: {"discretisation": "score_sde", "num_steps": steps}),
    "ode": _sampler("ncsnpp_cifar10", "ode", lambda steps: {"name": "ode", "solver": "dopri5"}),
    "ddim": _sampler("adm64", "ddim", lambda steps: {"name": "ddim", "respacing": f"ddim{steps}"}),
}
"""Score SDE's predictor-corrector and probability flow (RK45, 1e-5, which chooses its steps), ADM's DDIM."""

LIKELIHOOD = {
    "likelihood": Loop(
        "ncsnpp_cifar10",
        "likelihood",
        lambda flags: {"tolerance": flags.loop_tolerance},
        lambda ours, flags: ours.likelihood(flags.loop_tolerance),
        3.0,
    )
}
"""Score SDE's, by RK45."""


def add_flags(parser: argparse.ArgumentParser, loops: dict[str, Loop]) -> None:
    """What `loop_claims` takes."""
    parser.add_argument("--only_loops", action="store_true", help="beside the originals alone")
    parser.add_argument("--peer_python", type=Path, help="a Python with torch")
    parser.add_argument("--reference", action="append", default=[], help="a clone of the original code; repeat it")
    parser.add_argument("--loops", default=",".join(loops), help=f"of {', '.join(loops)}")
    parser.add_argument("--loop_steps", type=int, default=50)
    parser.add_argument("--loop_tolerance", type=float, default=1e-5, help="of the likelihood's solver")
    parser.add_argument("--loop_batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)


def loop_claims(arguments: argparse.Namespace, loops: dict[str, Loop]) -> list[Claim]:
    """Median time of the original loop over ours, with the network as published, in float32; none without a peer."""
    if arguments.peer_python is None:
        return []
    claims = []
    for name in arguments.loops.split(","):
        peer = peer_of(arguments.peer_python, "torch_originals.py", *arguments.reference)
        with tempfile.TemporaryDirectory() as folder, peer as asked:
            claims.append(_claim(name, loops[name], asked, Path(folder), arguments))
    return claims


def _claim(name: str, loop: Loop, peer: Peer, folder: Path, arguments: argparse.Namespace) -> Claim:
    ours, how = both_sides(loop.model, peer, folder, arguments.loop_batch)
    solve = loop.ours(ours, arguments)
    solve()
    pairs, nfe, answer = [], 0, {}
    for _ in range(arguments.rounds):
        here, (_, nfe) = timed(solve)
        answer = peer.ask(loop.asked, **loop.request(arguments))
        pairs.append((here, answer["seconds"]))
    return ratio_claim(f"ratio_{name}", pairs, loop.target, f"{how}, NFE {nfe} here and {answer['nfe']} there")
