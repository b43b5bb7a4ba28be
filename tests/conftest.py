"""Settings of every test; set before jax and score_jax are imported."""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

from tiny import xla_flags_of_tests

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = xla_flags_of_tests(8)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

pytest_plugins = ["covered"]

# In tests only: the shapes and dtypes in annotations are checked at every call.
install_import_hook("score_jax", "beartype.beartype")


_MUCH_MEMORY = 3 * 2**30
"""Bytes of a test process, of which there are two: programs that were compiled stay in memory."""


def _resident() -> int:
    """Bytes of memory that this process fills; 0 where the system does not say."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.is_file() else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The benchmarks go first: one that began last would leave the other worker with nothing to do."""
    items.sort(key=lambda item: item.path.name != "test_benchmarks.py")


def pytest_collection_finish() -> None:
    """Tracing makes many objects that live: Python looks through them less often, and never through the modules."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True, scope="module")
def _programs_are_let_go() -> Iterator[None]:
    """After a file of tests, once they fill much memory; others come from the compile cache again."""
    yield
    if _resident() > _MUCH_MEMORY:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # of glibc alone, which keeps what is freed
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def x64() -> Iterator[None]:
    """float64 within a test."""
    enable = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax.experimental import enable_x64 as enable
    with enable(True):
        yield
