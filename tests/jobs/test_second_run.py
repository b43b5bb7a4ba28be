"""What a verb compiles once comes from the compile cache when it runs again."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator

import jax
import pytest

from tiny import here, write_config

_WANTED, _FOUND = "/jax/compilation_cache/compile_requests_use_cache", "/jax/compilation_cache/cache_hits"


@contextlib.contextmanager
def compilations() -> Iterator[Counter]:
    """Counts the programs that are wanted meanwhile, and those in the compile cache; none is remembered from before."""
    events: Counter = Counter()

    def listen(event: str, **_: object) -> None:
        events[event] += 1

    jax.clear_caches()
    jax.monitoring.register_event_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(listen)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("second")
    words = ("--config.training.steps=2", "--config.training.checkpoint_every=2")
    assert here("train", f"--config={write_config(folder)}", f"--workdir={folder / 'run'}", *words) == 0
    return str(folder / "run")


VERBS = {
    "chain": ("sample", "--config.sampler.name=ddim"),
    "ode": ("sample", "--config.sampler.name=ode"),
    "sde": ("sample", "--config.sampler.name=sde", "--config.sampler.rtol=0.5"),
    "likelihood": ("likelihood",),
}


@pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)
def test_a_second_run_compiles_nothing(words, workdir, tmp_path):
    verb, *flags = words
    for run in ("first", "second"):
        shutil.copytree(workdir, tmp_path / run)
        with compilations() as events:
            assert here(verb, f"--workdir={tmp_path / run}", *flags) == 0
    assert events[_WANTED] == events[_FOUND] > 0
