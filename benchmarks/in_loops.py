"""Is what runs in a loop as fast as outside of any? Claims of `train_step.py`.

XLA compiles some operations otherwise within `lax.scan`, `while_loop` and what is made of them; a gradient of a
convolution took 20 to 60 times as long once. For each use that differentiates networks in a loop: the median time of
the real thing over that of the same work in programs of their own, in turns, in one process.
"""

from collections.abc import Iterator
from pathlib import Path

from in_loops_sampling import sampling_pairs
from in_loops_training import training_pairs
from ratios import Pair, settled

from report import Claim

BOUND = 1.1


def pairs(folder: Path) -> Iterator[Pair]:
    """All of them, `loop_ratio` first; files go into the folder."""
    yield from training_pairs(folder)
    yield from sampling_pairs()


def loop_claims(folder: Path, rounds: int) -> list[Claim]:
    """Each ratio against its bound; one above it is measured once more, in three times as many rounds."""
    claims = []
    for pair in pairs(folder):
        ratio = settled(pair, rounds, lambda value: value <= BOUND)
        claims.append(Claim(pair.name, ratio.value, "", BOUND, "<=", ratio.how))
    return claims
