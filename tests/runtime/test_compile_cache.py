"""One place decides where compiled programs are kept."""

import jax
import pytest
from etils import epath

from score_jax.runtime.compile_cache import compile_cache, keep_compiled


def test_what_the_environment_names_comes_before_the_run_and_that_before_the_person(tmp_path):
    environment = {"JAX_COMPILATION_CACHE_DIR": "gs://bucket/compiled"}
    run = epath.Path("gs://bucket/run")
    assert compile_cache(environment, run) == compile_cache(environment) == "gs://bucket/compiled"
    assert compile_cache({}, run) == "gs://bucket/run/compiled"
    assert compile_cache({}, epath.Path(tmp_path)) == str(tmp_path / "compiled")


def test_a_person_has_one_cache_for_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path))
    assert compile_cache({}) == str(tmp_path / "jax")


@pytest.fixture
def settings():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    keep_compiled(before["jax_compilation_cache_dir"])
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_go_to_the_place_that_is_named_last(tmp_path, settings):
    for name in ("first", "second"):
        keep_compiled(str(tmp_path / name))
        jax.clear_caches()
        jax.jit(lambda x: x * 3 + 1)(1.0)
        assert len(list((tmp_path / name).glob("*-cache"))) == 1, name


def test_xla_is_given_no_place_that_it_cannot_write(tmp_path, settings):
    keep_compiled(str(tmp_path))
    assert "autotune" in jax.config.jax_persistent_cache_enable_xla_caches
    keep_compiled("gs://bucket/compiled")
    assert jax.config.jax_persistent_cache_enable_xla_caches == "none"
