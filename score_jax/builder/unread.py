"""Options of a method that nothing reads beside the process of the model."""

from collections.abc import Mapping

from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.options import Options
from score_jax.processes.chain import Chain


def refuse_unread(sections: Mapping[str, Options], model: ModelFacts) -> None:
    """Refuses options that are not at their default, and that nothing reads of a model with this process.

    Raises:
      InputError: naming the first of them.
    """
    for options in sections.values():
        options.check_read(chain=isinstance(model.process, Chain))
