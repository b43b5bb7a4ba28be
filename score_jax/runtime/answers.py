"""What each process of a job has to say, by the service that joined them: no device and no link takes part in it."""

import json
import time

import jax
from orbax.checkpoint import multihost

from score_jax.errors import Outage

_FIRST_MAY_BE_LATE = 10.0
"""Seconds after which the first process has said what it heard, beyond those that it waits for the others."""


def answers(question: str, here: str, seconds: float) -> list[str | None]:
    """Returns what each process says, by its index, the same on all of them; None of one that did not say it in time.

    They return within milliseconds of one another.

    Args:
      question: its name; asked once in a run.
      here: this process's answer.
      seconds: that the others have, all together.

    Raises:
      Outage: the first process says nothing.
    """
    if jax.process_count() == 1:
        return [here]
    client, first = multihost.get_jax_distributed_client(), jax.process_index() == 0
    client.key_value_set(f"{question}/{jax.process_index()}", here)
    if first:
        end = time.monotonic() + seconds
        keys = [f"{question}/{process}" for process in range(jax.process_count())]
        said = [_value(client, key, end - time.monotonic()) for key in keys]
        client.key_value_set(f"{question}/all", json.dumps(said))
        return said
    heard = _value(client, f"{question}/all", seconds + _FIRST_MAY_BE_LATE)
    if heard is None:
        raise Outage(f"Process 0 has said nothing for {seconds:.0f} s: see its own output, or its machine.")
    return json.loads(heard)


def _value(client, key: str, seconds: float) -> str | None:
    """Of a key, once it has one; None where it has none in time. What is there already takes no time."""
    try:
        return client.blocking_key_value_get(key, int(1000 * max(seconds, 1.0)))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            return None
        raise
