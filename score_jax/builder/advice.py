"""What may help where samples are not finite, by how they were drawn."""

from ml_collections import ConfigDict

from score_jax.processes.respacing import kept_levels

_LANGEVIN = {"langevin": "step_lr", "predictor_corrector": "snr"}
"""What sets the length of a sampler's Langevin steps."""


def _may_have_more_steps(config: ConfigDict) -> bool:
    """A chain has no more steps than levels, and learned kernels have one for each."""
    c, levels = config.sampler, config.process.get("num_levels")
    if "num_steps" not in c:
        return False
    if levels is None or c.name in ("heun", "euler"):
        return True
    respacing = c.get("respacing", "")
    return (len(kept_levels(levels, respacing)) if respacing else c.num_steps) < levels


def where_samples_are_not_finite(config: ConfigDict) -> str:
    """Returns what to check and to change, of the keys that act on this sampler alone; one line."""
    c = config.sampler
    checks = "check that the weights are finite and belong to this config"
    changes = []
    if "rtol" in c:
        changes.append(
            "give larger sampler.rtol and sampler.atol (a solve gives up after too many steps) or a larger "
            "sampler.t_min"
        )
    elif c.name in _LANGEVIN and not (c.name == "predictor_corrector" and c.corrector == "none"):
        changes.append(f"give a smaller sampler.{_LANGEVIN[c.name]}")
    elif _may_have_more_steps(config):
        changes.append(
            "give " + ("a sampler.respacing of more levels" if c.get("respacing") else "a larger sampler.num_steps")
        )
    if c.get("threshold") == "none" and config.prediction.get("output") != "mean":
        changes.append("clip the predicted x0 by sampler.threshold=clip")
    if config.guidance.scale != 1.0 or config.guidance.name == "classifier":
        changes.append("lower guidance.scale")
    if config.network.get("dtype", "float32") != "float32":
        changes.append("compute with network.dtype=float32")
    changes.append("train longer")
    others = f"{', '.join(changes[:-1])}, or " if changes[1:] else ""
    return f"{checks}; if so, {others}{changes[-1]}."
