"""Is what runs in a loop as fast as outside of any? Claims of `train_step.py`.

XLA compiles some operations otherwise within `lax.scan`, `while_loop` and what is made of them; a gradient of a
convolution took 20 to 60 times as long once. For each use that differentiates networks in a loop: the median time of
the real thing over that of the same work in programs of their own, in turns, in one process.
"""

from collections.abc import Callable
from pathlib import Path

from in_loops_sampling import sampling_pairs
from in_loops_training import training_pairs
from ratios import Pair, settled

from report import Claim

BOUND = 1.1


def pairs(folder: Path) -> dict[str, Callable[[], Pair]]:
    """What makes each of them, `loop_ratio` first; files go into the folder."""
    return training_pairs(folder) | sampling_pairs()


def loop_claims(folder: Path, rounds: int) -> list[Claim]:
    """Each ratio against its bound; one above it is measured once more, in three times as many rounds."""
    ratios = [settled(make(), rounds, lambda value: value <= BOUND) for make in pairs(folder).values()]
    return [Claim(ratio.name, ratio.value, "", BOUND, "<=", ratio.how) for ratio in ratios]
