"""How fast are the convolutions of networks for CIFAR-10 beside oneDNN's, through PyTorch, and do our own ways pay?

    python benchmarks/convolutions.py --peer_python=peer/bin/python [--rounds=9] [--only=16] [--docs] [--json]

Layer by layer, of NCSN++ and of DDPM, 8 images, float32: the output, and the gradients of the image and of the kernel.
Each is measured in turns here, here by XLA's own convolution where another way is taken (Winograd's, or a product for
each place of the kernel), and there; shown are medians. Both sides have one thread, and seconds are those of the
processor: other work on the machine slows both down, and is not counted as theirs. With --docs the table goes to
docs/performance.md.
"""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pages import made_by, put_into_page, row
from peer import Peer, peer_of

from report import Claim, emit
from score_jax.models.blocks import kernel_products, winograd
from score_jax.models.blocks.cpu_convolution import conv_general_dilated

ROOT = Path(__file__).parents[1]
BATCH, TIMES = 8, 2
MAPS = ("output", "image", "kernel")
OURS, XLA, THERE = "ours", "xla", "there"


class Layer(NamedTuple):
    """A convolution of square images."""

    size: int
    channels: int
    filters: int
    kernel: int = 3
    stride: int = 1

    @property
    def name(self) -> str:
        """As the table has it."""
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.size} x {self.size}, {self.channels} to {self.filters}, {self.kernel} x {self.kernel}{stride}"


LAYERS = (
    Layer(32, 3, 128),
    Layer(32, 128, 128),
    Layer(32, 256, 128),
    Layer(32, 384, 128),
    Layer(32, 128, 3),
    Layer(32, 128, 128, stride=2),
    Layer(16, 128, 256),
    Layer(16, 256, 256),
    Layer(16, 512, 256),
    Layer(8, 256, 256),
    Layer(8, 512, 256),
    Layer(4, 256, 256),
    Layer(4, 512, 256),
    Layer(32, 256, 128, kernel=1),
    Layer(16, 512, 256, kernel=1),
)
"""That NCSN++ or DDPM for CIFAR-10 have, with 128 and 256 channels."""


class Found(NamedTuple):
    """Median seconds of the processor, by map and by who computes; "xla" where we take another way."""

    layer: Layer
    seconds: dict[str, dict[str, float]]


def maps_of(layer: Layer) -> dict[str, Callable[[], jax.Array]]:
    """The three maps of a layer, compiled."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (BATCH, layer.size, layer.size, layer.channels))
    k = jax.random.normal(keys[1], (layer.kernel, layer.kernel, layer.channels, layer.filters))
    pad = (layer.kernel // 2,) * 2

    def output(x: jax.Array, k: jax.Array) -> jax.Array:
        return conv_general_dilated(x, k, (layer.stride, layer.stride), (pad, pad))

    y = output(x, k)
    works = {
        "output": (output, (x, k)),
        "image": (lambda k, y: jax.vjp(lambda x: output(x, k), x)[1](y)[0], (k, y)),
        "kernel": (lambda x, y: jax.vjp(lambda k: output(x, k), k)[1](y)[0], (x, y)),
    }
    return {
        name: functools.partial(jax.jit(work).lower(*given).compile(), *given) for name, (work, given) in works.items()
    }


def seconds(work: Callable[[], jax.Array]) -> float:
    """Of the processor, the mean of some calls."""
    began = time.process_time()
    for _ in range(TIMES):
        work().block_until_ready()
    return (time.process_time() - began) / TIMES


def by_xla(layer: Layer) -> dict[str, Callable[[], jax.Array]]:
    """The maps by XLA's own convolution, of those that are computed in another way."""
    side = -(-layer.size // layer.stride)
    x = jax.ShapeDtypeStruct((BATCH, layer.size, layer.size, layer.channels), jnp.float32)
    y = jax.ShapeDtypeStruct((BATCH, side, side, layer.filters), jnp.float32)
    k = jax.ShapeDtypeStruct((layer.kernel, layer.kernel, layer.channels, layer.filters), jnp.float32)
    plain = layer.kernel == 3 and layer.stride == 1 and winograd.pays(x, k)
    ours = [*(("output", "image") if plain else ())]
    ours += ["kernel"] if kernel_products.pays(x, y, (layer.kernel, layer.kernel)) else []
    kept = [(module, module.pays) for module in (winograd, kernel_products)]
    for module, _ in kept:
        module.pays = lambda *_: False
    try:
        compiled = maps_of(layer)
    finally:
        for module, pays in kept:
            module.pays = pays
    return {name: compiled[name] for name in ours}


def _there(peer: Peer, name: str) -> float:
    return peer.ask("seconds", of=name, times=TIMES)["seconds"]


def measured(layer: Layer, peer: Peer, rounds: int) -> Found:
    """One layer, in turns."""
    ours = maps_of(layer)
    jax.clear_caches()
    xla = by_xla(layer)
    jax.clear_caches()
    peer.ask("layer", batch=BATCH, **layer._asdict())
    found = {}
    for name in MAPS:
        works = {OURS: functools.partial(seconds, ours[name]), THERE: functools.partial(_there, peer, name)}
        if name in xla:
            works[XLA] = functools.partial(seconds, xla[name])
        for work in works.values():
            work()
        times = [{who: work() for who, work in works.items()} for _ in range(rounds)]
        found[name] = {who: float(np.median([at[who] for at in times])) for who in works}
    return Found(layer, found)


def claims_of(found: list[Found], rounds: int) -> list[Claim]:
    """Of each layer and map: oneDNN's time over ours; and XLA's over our own way's."""
    claims = []
    for of in found:
        slug = f"{of.layer.size}_{of.layer.channels}_{of.layer.filters}_k{of.layer.kernel}_s{of.layer.stride}"
        for name, by in of.seconds.items():
            how = f"{by[OURS] * 1e3:.3g} ms here, {by[THERE] * 1e3:.3g} there, one thread, medians of {rounds}"
            claims.append(Claim(f"convolution_{name}_{slug}", by[THERE] / by[OURS], "", 1.0, ">=", how))
            if XLA in by:
                how = f"{by[OURS] * 1e3:.3g} ms, {by[XLA] * 1e3:.3g} by XLA, one thread, medians of {rounds}"
                claims.append(Claim(f"over_xla_{name}_{slug}", by[XLA] / by[OURS], "", 1.0, ">=", how))
    return claims


def write_docs(found: list[Found], versions: dict[str, str]) -> None:
    """The table of the page."""
    header = [f"{name}: {who}" for name in MAPS for who in ("ms", "by XLA", "oneDNN's over it")]
    table = [row("layer", *header), row("---", *["---:"] * len(header))]
    for of in found:
        cells = []
        for name in MAPS:
            by = of.seconds[name]
            xla = f"{by[XLA] * 1e3:.3g}" if XLA in by else ""
            cells += [f"{by[OURS] * 1e3:.3g}", xla, f"{by[THERE] / by[OURS]:.2f}"]
        table.append(row(of.layer.name, *cells))
    command = "python benchmarks/convolutions.py --peer_python=peer/bin/python --docs"
    parts = [f"{made_by(command)[:-1]}, PyTorch {versions['torch']}.", "\n".join(table)]
    put_into_page(ROOT / "docs" / "performance.md", "convolutions", parts)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/performance.md")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", type=int, help="layers of images of this size")
    options = parser.parse_args()
    began, found = time.monotonic(), []
    # Before there is a device: XLA has a thread for each of these processors, and the peer inherits them.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with peer_of(options.peer_python, "convolutions_peer.py") as peer:
        versions = peer.ask("versions")
        for layer in LAYERS:
            if options.only in (None, layer.size):
                found.append(measured(layer, peer, options.rounds))
                print(found[-1], file=sys.stderr, flush=True)
    if options.docs:
        write_docs(found, versions)
    return emit("convolutions", claims_of(found, options.rounds), began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
