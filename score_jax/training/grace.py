"""Whether the last save of a training fits into the time that a machine leaves which is taken away."""

from collections.abc import Mapping

from score_jax.runtime.rendezvous import seconds_of
from score_jax.training.step_clock import StepClock

VARIABLE = "SCORE_JAX_GRACE_SECONDS"
"""Of the environment, set by what starts a job: from SIGTERM to the end of the machine."""
_DISPATCHES = 2
"""Of steps, that may end between SIGTERM and the save: the question whether anybody is asked to stop waits for one."""


class Grace:
    """Says, once in a run, that a save does not fit.

    Args:
      environment: its variables; where `VARIABLE` is not among them, nothing is said.
      clock: of the steps.

    Raises:
      InputError: the variable is no positive number.
    """

    def __init__(self, environment: Mapping[str, str], clock: StepClock):
        self._seconds, self._clock = seconds_of(environment, VARIABLE), clock

    def judge(self, step: int, save: float) -> None:
        """Looks at a checkpoint that is written.

        Args:
          step: of it.
          save: seconds from its begin until it was whole.
        """
        before = _DISPATCHES * self._clock.usual
        if self._seconds is None or save + before <= self._seconds:
            return
        print(
            f"Checkpoint {step} took {save:.1f} s to write, and steps before it take up to {before:.1f} s, but a "
            f"machine that is taken away leaves {self._seconds:g} s ({VARIABLE}): the steps since the checkpoint "
            "before would be done again. Lower training.checkpoint_every, or have more time left.",
            flush=True,
        )
        self._seconds = None
