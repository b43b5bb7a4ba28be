"""The other side of `jax_fid.py`: the evaluator of Lyy-iiis/imeanflow as published, in a Python of its own.

Run by `jax_fid.py` with the folder of a clone; reads one JSON request a line and answers with one. Imports nothing of
this library.
"""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from answering import answer

CLONE = sys.argv[1]
sys.path.insert(0, CLONE)
sys.modules["utils.logging_util"] = types.SimpleNamespace(log_for_0=lambda *_: None)  # the original needs wandb
_reshape = jnp.reshape
jnp.reshape = lambda x, newshape: _reshape(x, newshape)  # later releases of jax renamed this argument

from utils import fid_util, sample_util  # noqa: E402
from utils.jax_fid import inception  # noqa: E402


def _nested(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """pytorch-fid's tensors as the pickle of jax-fid has them."""
    found: dict[str, Any] = {"fc": {"kernel": state["fc.weight"].T, "bias": state["fc.bias"]}}
    leaves = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    for name, tensor in state.items():
        *modules, kind, leaf = name.split(".")
        if kind == "fc":
            continue
        inner = found
        for part in [*modules, kind]:
            inner = inner.setdefault(part, {})
        inner["kernel" if kind == "conv" else leaves[leaf]] = tensor.transpose(2, 3, 1, 0) if kind == "conv" else tensor
    return found


class Peer:
    """One network."""

    def load(self, weights: str) -> dict:
        """Takes the weights of pytorch-fid's names, instead of downloading some; it reads them at each compilation."""
        path = Path(weights).with_suffix(".pickle")
        path.write_bytes(pickle.dumps(_nested(dict(np.load(weights)))))
        inception.utils.download = lambda _: str(path)
        self.network = fid_util.build_jax_inception(batch_size=8)
        return {"jax": jax.__version__}

    def stats(self, images: str, out: str) -> dict:
        """Moments and logits of bytes (n, h, w, 3), and their Inception Score."""
        found = fid_util.compute_stats(np.load(images), self.network, batch_size=8)
        np.savez(out, **{name: np.asarray(value) for name, value in found.items()})
        mean, spread = fid_util.compute_inception_score(jnp.asarray(found["logits"]))
        return {"inception_score": float(mean), "spread": float(spread)}

    def distance(self, first: str, second: str) -> dict:
        """The FID of two results of `stats`."""
        one, two = np.load(first), np.load(second)
        return {"fid": fid_util.compute_fid(one["mu"], two["mu"], one["sigma"], two["sigma"])}

    def to_bytes(self, samples: str, out: str) -> dict:
        """What it makes of decoded samples (n, 3, h, w) in [-1, 1]."""
        x = jnp.asarray(np.load(samples))
        manager, state = types.SimpleNamespace(decode=lambda latent: x), types.SimpleNamespace(ema_params={})
        step = lambda variable, sample_idx: jnp.zeros((1, len(x), 1))  # noqa: E731
        np.save(out, np.asarray(sample_util.run_p_sample_step(step, state, None, manager)))
        return {}


if __name__ == "__main__":
    answer(Peer())
