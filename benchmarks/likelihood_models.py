"""Claims of `likelihood.py` about networks: independence of batch and devices, precision, and speed beside SciPy."""

import copy
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.integrate import solve_ivp

from report import Claim
from score_jax import builder
from score_jax.arrays import broadcast_right
from score_jax.configs import base
from score_jax.likelihood.bits import bits_per_dim
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.prediction.predictor import from_eps
from score_jax.processes.gaussian import VP
from score_jax.runtime.sharding import make_mesh, over_batch, replicated
from score_jax.samplers.ode import ODE, AdaptiveODE, GridODE, probability_flow_drift

PROCESS, T_MIN = VP(), 1e-5
OFFSET = float(np.log(2 / 256))
ADAPTIVE = AdaptiveODE("dopri5", 1e-5, 1e-5)
GRID = GridODE((T_MIN, *np.linspace(T_MIN**0.5, 1.0, 65)[1:-1].tolist(), 1.0))


class Model:
    """A DDPM++ whose noise is added to that of standard normal data, as a trained network's is never far from it.

    Its weights are moved from where they begin, at which it would add nothing.
    """

    def __init__(self, channels: int, size: int, moved: float = 0.003):
        config = base.get_config()
        config.data.update(image_size=size)
        config.network.update(
            channels=channels, channel_mult=(1, 2, 2), num_res_blocks=1, attention_resolutions=(size // 2,), dropout=0.0
        )
        built = builder.experiment(config)
        self.shape = built.image_shape

        def predict(params, x, t):
            return from_eps(built.predict(params, x, t).eps + broadcast_right(PROCESS.sigma(t), x) * x, x, t, PROCESS)

        self.predict = predict
        params = jax.jit(built.network.init)(jax.random.key(0))

        def moved_leaf(leaf):
            return leaf + moved * jax.random.normal(jax.random.key(leaf.size), leaf.shape)

        self.params = jax.tree.map(moved_leaf, params)
        self.count = sum(leaf.size for leaf in jax.tree.leaves(params))

    def in_float64(self) -> "Model":
        """The same, to be used under x64."""
        double = copy.copy(self)
        double.params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), self.params)
        return double

    def images(self, count: int):
        """Smooth random images in [-1, 1]."""
        coarse = jax.random.uniform(jax.random.key(2), (count, 2, 2, 3), minval=-1.0)
        return jax.image.resize(coarse, (count, *self.shape), "linear")

    def bits(self, params, indices, x, ode: ODE):
        """Bits/dim (b,) and evaluations, example i's probe from i alone."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(1), indices)
        model = functools.partial(self.predict, params)
        found = log_prob(model, PROCESS, keys, x, divergence=Divergence(), ode=ode, t_min=T_MIN)
        return bits_per_dim(found.log_prob, x[0].size, OFFSET), found.nfe


def _mesh(count: int) -> Mesh:
    return make_mesh(devices=jax.devices()[:count])


def sharded_bits(model: Model, mesh: Mesh, count: int, ode: ODE) -> np.ndarray:
    """Of the model's images, sharded over a mesh that may span processes."""
    split = over_batch(mesh)
    run = jax.jit(lambda params, i, x: model.bits(params, i, x, ode)[0], out_shardings=replicated(mesh))

    def place(whole):
        return jax.make_array_from_callback(whole.shape, split, lambda part: whole[part])

    arrays = place(np.arange(count)), place(np.asarray(model.images(count)))
    return np.asarray(run(jax.device_put(model.params, replicated(mesh)), *arrays).addressable_data(0))


def sameness_claims() -> list[Claim]:
    """An image alone and in a batch, on 1 and 8 devices, in 1 and 2 processes; default and highest precision.

    On a grid, where rounding decides on no step. Under adaptive steps it does, in float64 too, by as much as the
    tolerance lets the value be off: that is told, not claimed.
    """
    model = Model(16, 8)
    together, alone = together_and_alone(model, GRID)
    adaptive, adaptive_alone = together_and_alone(model, ADAPTIVE)
    eight = sharded_bits(model, _mesh(8), 8, GRID)
    with jax.default_matmul_precision("default"):
        default, _ = together_and_alone(model, GRID)
    with jax.enable_x64(True):
        double = together_and_alone(model.in_float64(), ADAPTIVE)
    adaptively = [float(np.abs(one - other).max()) for one, other in ((adaptive, adaptive_alone), double)]
    told = "under adaptive steps at {:g} {:.1g} in float32, {:.1g} in float64".format(ADAPTIVE.rtol, *adaptively)

    def claim(name: str, one: np.ndarray, other: np.ndarray, target: float, what: str, how: str) -> Claim:
        how = f"{what}; DDPM++ of 0.3 M parameters, 8 images of 8 x 8 x 3, dopri5 {how}, largest difference"
        return Claim(name, float(np.abs(one - other).max()), "bits/dim", target, "<=", how)

    grid, platform = f"of {len(GRID.times) - 1} steps", jax.devices()[0].platform
    return [
        claim("batch_mates_bpd", together, alone, 1e-5, f"alone and in a batch of 8 ({told})", grid),
        claim("devices_equal_8", together, eight, 1e-5, "1 device and 8", grid),
        claim("devices_equal_2_processes", together, _in_two_processes(), 1e-5, "1 process and 2 of 4 devices", grid),
        claim("precision", together, default, 0.005, f"default and highest matmul precision on {platform}", grid),
    ]


def together_and_alone(model: Model, ode: ODE) -> tuple[np.ndarray, np.ndarray]:
    """Bits/dim of 8 images in one batch, and of each in a batch of its own."""
    x, indices = model.images(8), jnp.arange(8)
    run = jax.jit(lambda i, x: model.bits(model.params, i, x, ode)[0])
    alone = np.concatenate([np.asarray(run(indices[i : i + 1], x[i : i + 1])) for i in range(8)])
    return np.asarray(run(indices, x)), alone


_PROCESS = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from likelihood_models import GRID, Model, _mesh, sharded_bits
jax.config.update("jax_default_matmul_precision", "highest")
np.save(sys.argv[3] + sys.argv[2], sharded_bits(Model(16, 8), _mesh(8), 8, GRID))
"""


def _in_two_processes() -> np.ndarray:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    here = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]),
    }
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "bits_")
        command = [sys.executable, "-c", _PROCESS, address]
        # gloo writes of its connections to stdout, which is the caller's.
        processes = [subprocess.Popen([*command, str(i), out], env=environment, stdout=sys.stderr) for i in range(2)]
        if any(process.wait() for process in processes):
            raise RuntimeError("One of two processes failed; its message is above.")
        return np.load(f"{out}0.npy")


class SciPyLoop:
    """The likelihood as the originals have it: RK45 on the host, the drift and its divergence by calls of their own."""

    def __init__(self, model: Model, x):
        self.model, self.x, count = model, np.asarray(x), len(x)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(1), jnp.arange(count))
        self.probe = jax.vmap(Divergence().draw)(keys, jnp.asarray(x)).reshape(self.x.shape)

        def drift(params, x, t):
            return probability_flow_drift(functools.partial(model.predict, params), PROCESS, x, jnp.full(count, t))

        def divergence(params, x, t):
            gradient = jax.grad(lambda x: jnp.sum(drift(params, x, t) * self.probe))(x)
            return jnp.sum(gradient * self.probe, axis=(1, 2, 3))

        self.drift, self.divergence, self.nfe = jax.jit(drift), jax.jit(divergence), 0

    def field(self, t, state):
        """Of SciPy's flat float64 state."""
        count = len(self.x)
        x = jnp.asarray(state[:-count].reshape(self.x.shape), jnp.float32)
        t = jnp.float32(t)
        drift, divergence = self.drift(self.model.params, x, t), self.divergence(self.model.params, x, t)
        self.nfe += 1
        return np.concatenate([np.asarray(drift).ravel(), np.asarray(divergence)]).astype(np.float64)

    def bits(self, tolerance: float) -> np.ndarray:
        """Bits/dim (b,)."""
        count, self.nfe = len(self.x), 0
        start = np.concatenate([self.x.ravel(), np.zeros(count)])
        solved = solve_ivp(self.field, (T_MIN, 1.0), start, rtol=tolerance, atol=tolerance, method="RK45")
        latent = jnp.asarray(solved.y[:-count, -1].reshape(self.x.shape), jnp.float32)
        found = np.asarray(PROCESS.prior_log_prob(latent)) + solved.y[-count:, -1]
        return np.asarray(bits_per_dim(jnp.asarray(found), self.x[0].size, OFFSET))


def speed_claims(channels: int, size: int, tolerance: float, rounds: int, batch: int) -> list[Claim]:
    """Both from compiled functions, in turns; one step size for the batch, as a loop on the host has it."""
    model = Model(channels, size)
    x, ode = model.images(batch), AdaptiveODE("dopri5", tolerance, tolerance, control="batch")
    mesh = _mesh(2)
    split = over_batch(mesh)
    run = jax.jit(lambda params, i, x: model.bits(params, i, x, ode), out_shardings=split)
    arguments = (
        jax.device_put(model.params, replicated(mesh)),
        jax.device_put(jnp.arange(batch), split),
        jax.device_put(x, split),
    )
    loop = SciPyLoop(model, x)
    run = run.lower(*arguments).compile()
    loop.field(0.5, np.concatenate([np.asarray(x).ravel(), np.zeros(batch)]))
    ours, theirs = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        bits, nfe = jax.block_until_ready(run(*arguments))
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        other = loop.bits(tolerance)
        theirs.append(time.perf_counter() - began)
    how = f"DDPM++ of {model.count / 1e6:.1f} M parameters, {batch} images of {size} x {size} x 3, RK45 {tolerance:g}: "
    how += f"{np.median(theirs):.1f} s and NFE {loop.nfe} there, {np.median(ours):.1f} s and NFE {int(nfe.max())} here"
    differ = float(np.abs(np.asarray(bits) - other).max())
    ratio = float(np.median(theirs) / np.median(ours))
    return [
        Claim("speedup_vs_scipy_loop", ratio, "", 3.0, ">=", f"{how}, 2 host devices"),
        Claim("speedup_vs_scipy_loop_difference_bpd", differ, "bits/dim", 0.005, "<=", how),
    ]
