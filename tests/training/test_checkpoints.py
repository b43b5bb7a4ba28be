"""A checkpoint is what was saved, or it is not used."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from etils import epath

from score_jax.errors import InputError, Outage
from score_jax.runtime import outages
from score_jax.runtime.sharding import make_mesh, sharded_by_size
from score_jax.training import checkpoint
from score_jax.training.checkpoint import Checkpoints, abstract_state, said_of_run
from score_jax.training.fingerprint import differing, fingerprint
from score_jax.training.objective import Group, Objective
from score_jax.training.state import create_state


def create():
    def init(key):
        return {"w": jax.random.normal(key, (256, 128)), "b": jnp.arange(8.0)}

    group = Group(init, optax.adam(1e-3), Objective(lambda *_: None), ema_decay=0.9, ema_warmup=False)
    return create_state({"model": group}, jax.random.key(0))


def placed(mesh):
    places = sharded_by_size(jax.eval_shape(create), mesh)
    return jax.jit(create, out_shardings=places)()


def at_step(state, step):
    import dataclasses

    return dataclasses.replace(state, step=jnp.asarray(step, jnp.int32))


@pytest.fixture
def saved(tmp_path):
    state = placed(make_mesh())
    with Checkpoints(tmp_path / "c", about={"config": {}}) as checkpoints:
        for step in (1, 2):
            checkpoints.save(at_step(state, step), {"batches": step})
        checkpoints.wait()
    return tmp_path / "c"


def test_fingerprints_see_any_word_and_no_sharding():
    state = placed(make_mesh())
    assert fingerprint(state) == fingerprint(placed(make_mesh(fsdp=4)))
    tree = {"x": jnp.arange(6, dtype=jnp.bfloat16), "y": jnp.ones((2, 3))}
    for other in ({**tree, "y": tree["y"].at[1, 2].set(1 + 2**-23)}, {**tree, "x": tree["x"][::-1]}):
        assert len(differing(fingerprint(other), fingerprint(tree))) == 1
    assert fingerprint(tree) == fingerprint(jax.tree.map(jnp.copy, tree))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8", "int32", "bool"])
def test_a_host_and_a_device_see_the_same_number(dtype):
    values = np.random.default_rng(0).normal(size=(3, 50, 500)) * 50  # more words than a host takes at a time
    split = jax.sharding.NamedSharding(make_mesh(fsdp=2), jax.sharding.PartitionSpec(None, "fsdp"))
    for array in (values, values[0, 0, :7], values[0, 0, 0]):
        whole = jnp.asarray(array).astype(dtype)
        assert fingerprint({"x": whole}) == fingerprint({"x": np.asarray(whole)})
        if array.ndim == 3:
            assert fingerprint({"x": whole}) == fingerprint({"x": jax.device_put(whole, split)})


def test_the_state_is_split_by_size_and_restored_on_another_mesh(saved):
    mesh = make_mesh(fsdp=8)
    with Checkpoints(saved) as checkpoints:
        split = checkpoints.restore(abstract_state(create, mesh)).state
    for tree in (split.params, split.ema_params, split.opt_state[0].mu):
        assert tree["w"].addressable_shards[0].data.size * 8 == tree["w"].size
        assert tree["b"].addressable_shards[0].data.size == tree["b"].size
    np.testing.assert_array_equal(split.params["w"], create().params["w"])


def damages(folder):
    """Each a way to harm a checkpoint."""

    def largest():
        return max((f for f in (folder / "state").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)

    def truncate():
        file = largest()
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def flip():
        file = largest()
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x10
        file.write_bytes(data)

    def empty():
        largest().write_bytes(b"")

    def remove():
        largest().unlink()

    def metadata():
        for file in (folder / "state").glob("_*"):
            file.write_text("{")

    def data_state():
        for file in (folder / "data").rglob("*"):
            if file.is_file():
                file.write_text("{")

    return {f.__name__: f for f in (truncate, flip, empty, remove, metadata, data_state)}


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove", "metadata", "data_state"])
def test_a_damaged_checkpoint_is_passed_over_and_set_aside(saved, damage, capsys):
    damages(saved / "2")[damage]()
    like = abstract_state(create, make_mesh())
    with Checkpoints(saved) as checkpoints:
        restored = checkpoints.restore(like)
        assert int(restored.state.step) == 1 and restored.data == {"batches": 1} and restored.damaged == (2,)
        assert "Checkpoint 2" in capsys.readouterr().out
        with pytest.raises(InputError, match="Checkpoint 2 .* damaged"):
            checkpoints.restore(like, 2)
        checkpoints.set_aside(restored.damaged)
        assert checkpoints.steps == [1]
        checkpoints.save(at_step(restored.state, 2), {"batches": 2})
        checkpoints.wait()
        assert checkpoints.steps == [1, 2]
    assert (saved.parent / "damaged_c" / "2").is_dir()


@pytest.fixture
def failing(monkeypatch):
    """Has a method of orbax's manager fail `count` times, as where a service is away; no pause between tries."""
    monkeypatch.setattr(checkpoint, "PAUSES", (0.0, 0.0))

    def fail(method, count):
        works, left = getattr(ocp.CheckpointManager, method), [count]

        def perhaps(*args, **kwargs):
            left[0] -= 1
            if left[0] >= 0:
                raise ValueError("UNAVAILABLE: HTTP response code: 503")
            return works(*args, **kwargs)

        monkeypatch.setattr(ocp.CheckpointManager, method, perhaps)

    return fail


@pytest.mark.parametrize("method", ["save", "check_for_errors"])
def test_a_save_that_a_service_fails_is_left_to_the_next(saved, failing, method, capsys):
    with Checkpoints(saved) as checkpoints:
        failing(method, 1)
        for step in (3, 4):
            checkpoints.save(at_step(placed(make_mesh()), step), {})
        checkpoints.wait()
        assert checkpoints.steps[-1] == 4
    assert capsys.readouterr().err.count("This run goes on, and the next save tries again") == 1


def test_the_third_save_in_a_row_that_fails_ends_the_run(saved, failing):
    with Checkpoints(saved) as checkpoints:
        failing("save", 2)
        for step in (3, 4, 5):
            checkpoints.save(at_step(placed(make_mesh()), step), {})
        checkpoints.wait()
        assert checkpoints.steps[-1] == 5
        failing("save", 3)
        for step in (6, 7):
            checkpoints.save(at_step(placed(make_mesh()), step), {})
        with pytest.raises(Outage, match="goes on from step 5"):
            checkpoints.save(at_step(placed(make_mesh()), 8), {})


def test_the_last_save_is_tried_again(saved, failing):
    with Checkpoints(saved) as checkpoints:
        failing("save", 2)
        checkpoints.save_last(at_step(placed(make_mesh()), 3), {})
        assert checkpoints.steps[-1] == 3
        failing("save", 3)
        with pytest.raises(Outage, match="goes on from step 3"):
            checkpoints.save_last(at_step(placed(make_mesh()), 4), {})


def test_a_checkpoint_that_a_service_cannot_read_is_no_damage(saved, failing):
    like = abstract_state(create, make_mesh())
    with Checkpoints(saved) as checkpoints:
        failing("restore", 2)
        assert int(checkpoints.restore(like).state.step) == 2
        failing("restore", 3)
        with pytest.raises(Outage, match="The same command"):
            checkpoints.restore(like)
    assert not (saved.parent / "damaged_c").exists()


def test_what_a_checkpoint_says_of_its_run_is_not_lost_for_a_service_that_fails(saved, monkeypatch):
    assert "config" in said_of_run(epath.Path(saved), [1, 2])
    (saved / "2" / "about" / "metadata").write_text("{")
    assert "config" in said_of_run(epath.Path(saved), [1, 2])  # damaged: the one before
    monkeypatch.setattr(outages, "PAUSES", ())

    def away(*_):
        raise OSError("503 Service Unavailable")

    monkeypatch.setattr(type(epath.Path(saved)), "read_text", away)
    with pytest.raises(Outage, match="503"):
        said_of_run(epath.Path(saved), [1, 2])


def test_one_field_is_read_without_the_others(saved):
    like = abstract_state(create, make_mesh(fsdp=8))
    with Checkpoints(saved) as checkpoints:
        params, step = checkpoints.restore_part(like, "ema_params")
        assert step == 2
        assert params["w"].addressable_shards[0].data.size * 8 == params["w"].size
        np.testing.assert_array_equal(params["w"], create().ema_params["w"])
        about = saved / "2" / "about" / "metadata"
        said = json.loads(about.read_text())
        for field, expected in (("opt_state", 2), ("ema_params", 1)):  # whether what is damaged was asked for
            name = next(name for name in said["fingerprint"] if name.startswith(field))
            wrong = said["fingerprint"] | {name: said["fingerprint"][name] ^ 1}
            about.write_text(json.dumps(said | {"fingerprint": wrong}))
            assert checkpoints.restore_part(like, "ema_params")[1] == expected


def test_some_checkpoints_are_kept_for_good(tmp_path):
    state = placed(make_mesh())
    with Checkpoints(tmp_path, keep=1, keep_every=2) as checkpoints:
        for step in range(1, 6):
            checkpoints.save(at_step(state, step), {})
        checkpoints.wait()
        assert checkpoints.steps == [2, 4, 5]


def test_how_long_each_save_took_is_told(tmp_path):
    state, told = placed(make_mesh()), {}
    with Checkpoints(tmp_path, before_save=lambda: time.sleep(0.5), saved=told.__setitem__) as checkpoints:
        for step in (1, 2):
            checkpoints.save(at_step(state, step), {})
            checkpoints.wait()
            time.sleep(1.5)  # is no part of it
        checkpoints.save_last(at_step(state, 3), {})
    assert list(told) == [1, 2, 3]
    assert min(told.values()) >= 0.5 and min(told.values()) < 1.5
