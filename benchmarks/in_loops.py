"""Is what runs in a loop as fast as outside of any? Claims of `train_step.py`.

XLA compiles some operations otherwise within `lax.scan`, `while_loop` and what is made of them; a gradient of a
convolution took 20 to 60 times as long once. For each use that differentiates networks in a loop: the median time of
the real thing over that of the same work in programs of their own, in turns, in one process.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from in_loops_sampling import sampling_pairs
from in_loops_training import training_pairs
from ratios import Pair, settled

from report import Claim

BOUND = 1.1
QUICK = ("loop_ratio", "loop_ratio_dispatch", "loop_ratio_accumulate")
"""Those of the quick form, which share one network; `guard.py` has ratios of the other uses on smaller ones."""


def pairs(folder: Path) -> dict[str, Callable[[], Pair]]:
    """What makes each of them, `loop_ratio` first; files go into the folder."""
    return training_pairs(folder) | sampling_pairs()


def loop_claims(folder: Path, rounds: int, names: Collection[str] = ()) -> list[Claim]:
    """Each ratio against its bound; one above it is measured once more, in three times as many rounds.

    Args:
      folder: for files.
      rounds: of each.
      names: of the ratios; all of them by default.
    """
    chosen = [make for name, make in pairs(folder).items() if not names or name in names]
    ratios = [settled(make(), rounds, lambda value: value <= BOUND) for make in chosen]
    return [Claim(ratio.name, ratio.value, "", BOUND, "<=", ratio.how) for ratio in ratios]
