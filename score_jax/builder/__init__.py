"""From a config to objects. Nothing below this room sees a config."""

from score_jax.builder.clips import shown_size
from score_jax.builder.edit import Edit, Start
from score_jax.builder.experiment import Experiment, experiment, label_classes
from score_jax.builder.first_stage import LPIPS_NAME, MODEL
from score_jax.builder.network_tables import NETWORKS
from score_jax.builder.networks import build_network, codec_of
from score_jax.builder.processes import PROCESSES, build_process
from score_jax.builder.sampling import Guide, Known, Sampling
from score_jax.builder.sections import completed

__all__ = [
    "LPIPS_NAME",
    "MODEL",
    "NETWORKS",
    "PROCESSES",
    "Edit",
    "Experiment",
    "Guide",
    "Known",
    "Sampling",
    "Start",
    "build_network",
    "build_process",
    "codec_of",
    "completed",
    "experiment",
    "label_classes",
    "shown_size",
]
