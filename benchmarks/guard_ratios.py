"""What `guard.py` measures: pairs of times on small networks, and of commands."""

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from in_loops_likelihood import drift_programs
from in_loops_models import SIZE, Model, adm_config, demo_config, on_grid
from in_loops_sampling import guided_pair, plain_pair
from in_loops_training import (
    Training,
    accumulation_pair,
    dispatch_pair,
    loop_pair,
    loss_of,
)
from ratios import Pair, seconds

from score_jax.data.loader import make_loader
from score_jax.data.sources import Source
from score_jax.jobs.likelihood import by_ode, likelihood_program
from score_jax.models.blocks.convolution import conv
from score_jax.models.classifiers.digit_classifier import DigitClassifier
from score_jax.runtime.sharding import over_batch

ROOT = Path(__file__).parents[1]
_EDGE = 1024
"""Rows and columns of the matrices whose product is the unit of computing."""
_ODE_STEPS = 2
_BATCHES = 200


def pairs(folder: Path) -> dict[str, Callable[[], Pair]]:
    """What makes each of them, by name, in the order of measuring; files go into the folder."""
    training, unet = Training(batch_size=32), functools.cache(lambda: Model(adm_config("adm", batch_size=32)))
    return {
        "train_loop": lambda: loop_pair("train_loop", training.model, training.bare, folder),
        "train_dispatch": lambda: dispatch_pair("train_dispatch", training.model, training.bare),
        "train_accumulate": lambda: accumulation_pair("train_accumulate", training.model, training.gradient),
        "network_gradient": lambda: gradient_pair(training.model, training.gradient),
        "loader": loader_pair,
        "sampler": lambda: plain_pair("sampler", unet()),
        "sampler_guided": lambda: guided_pair("sampler_guided"),
        "likelihood": lambda: likelihood_pair(Model(demo_config(batch_size=16))),
        "network_forward": lambda: forward_pair(unet()),
        "kernel_gradient": convolution_pair,
        "features": features_pair,
        **command_pairs(folder),
    }


def gradient_pair(model: Model, gradient: Callable) -> Pair:
    """Of the loss of a quarter batch."""
    part, key = model.rows(model.size // 4), jax.random.key(0)
    value, zero = jax.jit(loss_of(model)), jax.tree.map(jnp.zeros_like, model.params)
    return Pair(
        "network_gradient",
        lambda: seconds(gradient, model.params, part, key, zero, times=4),
        lambda: seconds(value, model.params, part, key, times=4),
        f"gradient of the loss over its value, {model.size // 4} images",
    )


def loader_pair() -> Pair:
    """Batches out of a fresh loader, beside a loop that indexes the array."""
    images = np.random.default_rng(0).integers(0, 256, (2048, SIZE, SIZE, 1), dtype=np.uint8)
    source = Source("images in memory", [{"image": image} for image in images], lambda pixels, name: pixels)

    def loaded() -> float:
        batches = make_loader(source, batch_size=64, seed=0, flip=True, process_index=0, process_count=1)
        return seconds(next, batches, times=_BATCHES)

    def indexed() -> float:
        return seconds(lambda: np.stack([images[i][:, ::-1] for i in range(64)]), times=_BATCHES)

    return Pair("loader", loaded, indexed, f"{_BATCHES} batches of 64 from the loader over as many by NumPy")


def _product() -> Callable[[], float]:
    """Seconds of the product of two square matrices."""
    square, product = jnp.ones((_EDGE, _EDGE)), jax.jit(jnp.matmul)
    return lambda: seconds(product, square, square, times=3)


def forward_pair(model: Model) -> Pair:
    """The network alone, beside a matrix product."""
    forward = jax.jit(model.experiment.network.apply, out_shardings=over_batch(model.mesh))
    arguments = (model.params, *model.noise())
    how = f"a UNet of ADM on {model.size} images over a product of matrices of {_EDGE} x {_EDGE}"
    return Pair("network_forward", lambda: seconds(forward, *arguments, times=4), _product(), how)


def features_pair() -> Pair:
    """The small classifier behind `fid_digits`, beside a matrix product."""
    network, images = DigitClassifier(10), np.zeros((256, 28, 28, 1), np.float32)
    params = jax.jit(network.init)(jax.random.key(0), images[:1])
    apply = jax.jit(network.apply)
    how = f"features of {len(images)} digits over a product of matrices of {_EDGE} x {_EDGE}"
    return Pair("features", lambda: seconds(apply, params, images, times=4), _product(), how)


def likelihood_pair(model: Model) -> Pair:
    """A solve on a grid with the divergence by products with the transposed Jacobian, beside its evaluations."""
    solved = Model(on_grid(model.experiment.config, _ODE_STEPS))
    measure = likelihood_program(model.mesh, by_ode(solved.experiment, None))
    evaluate, _ = drift_programs(model, "reverse")
    batch = {name: model.batch[name] for name in ("image", "label", "index")}
    evaluations = 1 + 6 * _ODE_STEPS
    return Pair(
        "likelihood",
        lambda: seconds(measure, model.params, jax.random.key(0), batch) / evaluations,
        lambda: seconds(evaluate, model.params, *model.noise(), times=4),
        f"an evaluation within the solve over one of its own, {model.size} images",
    )


def convolution_pair() -> Pair:
    """One convolution in a loop: the gradient of its kernel, beside its value."""
    channels, x = 48, jax.random.normal(jax.random.key(0), (32, SIZE, SIZE, 48))
    layer = conv(channels, channels, 3, "conv")
    params = jax.jit(layer.init)(jax.random.key(1), x)

    def value(params, x):
        return layer.apply(params, x)

    def gradient(params, x):
        return jax.vjp(lambda params: layer.apply(params, x), params)[1](x)[0]["params"]["kernel"]

    def repeated(function: Callable) -> Callable:
        def run(params, x):
            def body(scale, _):
                return 1.0 + 0.0 * jnp.sum(function(params, scale * x)), None

            return jax.lax.scan(body, jnp.ones(()), None, length=8)[0]

        return jax.jit(run)

    above, below = repeated(gradient), repeated(value)
    how = f"gradient of a kernel of 3 x 3 x {channels} x {channels} over the convolution, in a loop"
    return Pair("kernel_gradient", lambda: seconds(above, params, x), lambda: seconds(below, params, x), how)


def command_pairs(folder: Path) -> dict[str, Callable[[], Pair]]:
    """Commands beside `import jax`, each in a process of its own."""
    import_jax = functools.partial(_run, "-c", "import jax")
    sizes = {"data.image_size": 8, "data.train_split": "train[:64]", "training.batch_size": 16, "training.steps": 1}
    sizes |= {"network.channels": 8, "network.channel_mult": "(1,)", "network.attention_resolutions": "()"}
    flags = [f"--config.{key}={value}" for key, value in sizes.items()]

    def train() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            config = ["--config=configs/demo/mnist.py", "--config.data.name=dead_leaves"]
            return _run("-m", "score_jax", "train", f"--workdir={workdir}/run", *config, *flags)

    timed = {
        "help": (functools.partial(_run, "-m", "score_jax", "--help"), "`--help`"),
        "imports": (functools.partial(_run, "-c", "import score_jax.jobs.train"), "imports of a verb"),
        "first_step": (train, "`train` of one step of a tiny model"),
    }
    return {
        name: functools.partial(Pair, name, run, import_jax, f"{what} over `import jax`")
        for name, (run, what) in timed.items()
    }


def _run(*arguments: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return time.perf_counter() - began
