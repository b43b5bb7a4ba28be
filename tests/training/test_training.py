import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax.builder.sections import completed
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs import train as job
from score_jax.runtime.sharding import check_divisible, make_mesh
from score_jax.runtime.stop import Stop, any_process_asks
from score_jax.training.checkpoint import Checkpoints, abstract_state
from score_jax.training.log import TrainingLog, read_curve
from score_jax.training.loop import Schedule, run_training
from score_jax.training.objective import Group, per_example
from score_jax.training.optimizer import described_schedule, learning_rate_schedule, make_optimizer, update_ema
from score_jax.training.profile import tracer
from score_jax.training.run_config import check_same_config, save_config, stored_config
from score_jax.training.state import create_state
from score_jax.training.step import in_sequence, make_train_step
from score_jax.training.throughput import Meter


def quadratic(tx=None, **kwargs):
    """The least problem: parameters go to the mean of the images."""
    tx = tx or optax.sgd(0.5)

    def values(params, batch, times, keys, dropout_key):
        return jnp.sum((params["w"][None] - batch["image"]) ** 2, axis=1) / 2

    groups = {"model": Group(lambda key: {"w": jnp.zeros(2)}, tx, per_example(values), ema_decay=0.9, ema_warmup=False)}
    return lambda: create_state(groups, jax.random.key(0)), make_train_step(groups, **kwargs)


def batches(images=None):
    images = jnp.array([[1.0, 2.0], [3.0, 4.0]]) if images is None else images
    for i in range(10**9):
        yield {"image": images, "index": jnp.arange(2)}, {"batches": i + 1}


def train(tmp_path, create, step, *, stop=None, steps=5, data=None, state=None, log_every=1, per_dispatch=1):
    meter, stop = Meter(2), Stop() if stop is None else stop
    with Checkpoints(tmp_path / "checkpoints") as checkpoints, TrainingLog(tmp_path, steps, 0, meter) as log:
        return run_training(
            create() if state is None else state,
            jax.jit(in_sequence(step)),
            batches() if data is None else data,
            workdir=tmp_path,
            checkpoints=checkpoints,
            log=log,
            schedule=Schedule(
                steps, log_every, checkpoint_every=2 * log_every, sample_every=0, per_dispatch=per_dispatch
            ),
            draw_samples=lambda state: None,
            post_stop=any_process_asks(stop, make_mesh()),
        )


def test_step_is_gradient_descent_and_ema_follows():
    create, step = quadratic()
    state, metrics = jax.jit(step)(create(), next(batches())[0])
    np.testing.assert_allclose(state.params["w"], [1.0, 1.5])  # half way to the mean (2, 3)
    np.testing.assert_allclose(state.ema_params["w"], [0.1, 0.15], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], (1 + 4 + 9 + 16) / 4)
    np.testing.assert_allclose(metrics["grad_norm"], 13**0.5, rtol=1e-6)
    assert int(state.step) == 1


def test_loop_saves_the_last_step_and_its_data_state(tmp_path):
    create, step = quadratic()
    state = train(tmp_path, create, step)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == 5
        restored, data_state, damaged = checkpoints.restore(abstract_state(create, make_mesh()))
    assert data_state == {"batches": 5} and damaged == ()
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_stop_ends_training_with_a_checkpoint(tmp_path):
    create, step = quadratic()
    stop = Stop()

    def until_third():
        for i, batch in enumerate(batches()):
            if i == 2:
                stop.ask()
            yield batch

    state = train(tmp_path, create, step, stop=stop, data=until_third(), steps=100)
    assert int(state.step) == 3
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == 3


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    create, step = quadratic()

    def poisoned():
        for i, batch in enumerate(batches()):
            yield batch if i < 4 else next(batches(jnp.full((2, 2), jnp.nan)))

    with pytest.raises(InputError, match=r"diverged at step 5: .*nan.*last good checkpoint is step 4"):
        train(tmp_path, create, step, data=poisoned(), steps=50)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        restored = checkpoints.restore(abstract_state(create, make_mesh())).state
    assert np.isfinite(restored.params["w"]).all()


def test_missing_and_foreign_checkpoints_are_said(tmp_path):
    create, step = quadratic()
    like = abstract_state(create, make_mesh())
    with (
        Checkpoints(tmp_path / "checkpoints") as checkpoints,
        pytest.raises(InputError, match="No a?.*checkpoint.*Train first"),
    ):
        checkpoints.restore(like)
    train(tmp_path, create, step, steps=2)
    other = dataclasses.replace(like, params={"v": like.params["w"]}, ema_params={"v": like.params["w"]})
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        with pytest.raises(InputError, match="No checkpoint 7 .*found steps"):
            checkpoints.restore(like, 7)
        with pytest.raises(InputError, match="does not fit this config's network"):
            checkpoints.restore(other)


def test_config_survives_the_disk_and_differences_are_named(tmp_path):
    config = base.get_config()
    save_config(tmp_path, config)
    assert stored_config(tmp_path).to_dict() == config.to_dict()
    other = base.get_config()
    other.sampler.num_steps = 7
    other.training.steps = 10
    other.data.threads = 7
    check_same_config(tmp_path, completed(config), completed(other))  # what does not change the parameters is free
    other.optimizer.learning_rate = 0.5
    with pytest.raises(InputError, match=r"another config: optimizer.learning_rate \(0.0002 there, 0.5 here\)"):
        check_same_config(tmp_path, completed(config), completed(other))


def test_steps_are_not_free_under_a_decaying_rate(tmp_path):
    config = base.get_config()
    config.optimizer.decay = "cosine"
    other = config.copy_and_resolve_references()
    other.training.steps = 10
    with pytest.raises(
        InputError, match=r"training.steps .* falls until step 1300001.*decay_steps=1300001: the rate is 0 after "
    ):
        check_same_config(tmp_path, completed(config), completed(other))
    other.optimizer.learning_rate = 0.5  # which nothing but the old value mends
    other.optimizer.decay_steps = 1_300_001
    with pytest.raises(InputError, match=r"learning_rate \(.*the old values.$"):
        check_same_config(tmp_path, completed(config), completed(other))


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_a_run_is_prolonged_where_the_decay_ends_as_it_did(decay, tmp_path):
    config = base.get_config()
    config.optimizer.decay = decay
    config.training.steps = 100
    other = config.copy_and_resolve_references()
    other.training.steps, other.optimizer.decay_steps = 200, 100
    check_same_config(tmp_path, completed(config), completed(other))
    rates = [
        learning_rate_schedule(1.0, 10, decay, o.optimizer.decay_steps or o.training.steps, last=0.1)
        for o in (config, other)
    ]
    steps = [0, 5, 10, 50, 99, 100]
    assert [float(rates[0](step)) for step in steps] == [float(rates[1](step)) for step in steps]
    assert float(rates[1](150)) == pytest.approx(0.1)
    other.optimizer.decay_steps = 150
    with pytest.raises(InputError, match=r"optimizer.decay_steps \(0 there, 150 here\).*until step 100"):
        check_same_config(tmp_path, completed(config), completed(other))


def test_the_course_of_the_rate_is_said():
    assert described_schedule(2e-4, "constant", 9, 0.0) == "the learning rate is 0.0002 after its warmup"
    said = described_schedule(2e-4, "cosine", 100, 0.1)
    assert said == "the learning rate falls (cosine) until step 100 and is 2e-05 after it"


def test_parts_of_a_batch_give_the_step_of_the_whole():
    images = jax.random.normal(jax.random.key(0), (8, 2))
    states = []
    for parts in (1, 2, 4):
        create, step = quadratic(optax.adam(0.1), accumulate=parts)
        state = create()
        for _ in range(3):
            state, metrics = jax.jit(step)(state, {"image": images, "index": jnp.arange(8)})
        states.append((state.params["w"], metrics["loss"], metrics["grad_norm"]))
    for other in states[1:]:
        for ours, theirs in zip(states[0], other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)  # of images of order 1


def test_a_step_that_is_not_finite_is_skipped_where_asked(tmp_path, capsys):
    create, step = quadratic(skip_nonfinite=True)

    def poisoned():
        for i, batch in enumerate(batches()):
            yield batch if i != 2 else next(batches(jnp.full((2, 2), jnp.inf)))

    state = train(tmp_path, create, step, data=poisoned(), steps=5)
    clean = train(tmp_path / "clean", create, step, steps=4)
    assert int(state.step) == 5
    np.testing.assert_array_equal(state.params["w"], clean.params["w"])
    assert "Step 3 skipped" in capsys.readouterr().out
    row = json.loads((tmp_path / "nonfinite.jsonl").read_text())
    assert row["step"] == 3 and row["index"] == [0, 1]


def test_skipping_ends_when_nothing_else_is_done(tmp_path):
    create, step = quadratic(skip_nonfinite=True)
    nothing = ((next(batches(jnp.full((2, 2), jnp.nan)))[0], {}) for _ in range(1000))
    with pytest.raises(InputError, match="diverged at step 101 after 101 skipped steps in a row"):
        train(tmp_path, create, step, data=nothing, steps=1000)


def test_steps_handed_over_together_are_those_handed_over_singly(tmp_path):
    create, step = quadratic(optax.adam(0.1))

    def changing():
        for i in range(100):
            yield {"image": jnp.array([[1.0, 2.0], [3.0, i]]), "index": jnp.array([i, i + 1])}, {"batches": i + 1}

    found = {}
    for count in (1, 3):
        folder = tmp_path / str(count)
        state = train(folder, create, step, data=changing(), steps=11, log_every=4, per_dispatch=count)
        with Checkpoints(folder / "checkpoints") as checkpoints:
            data_state = checkpoints.restore(abstract_state(create, make_mesh())).data
        found[count] = jax.device_get(state), data_state, read_curve(folder)
    assert found[3][1] == {"batches": 11} and list(found[3][2]) == [4, 8, 11]
    jax.tree.map(lambda one, three: np.testing.assert_allclose(three, one, rtol=1e-6), found[1], found[3])


def test_a_step_that_is_not_finite_is_named_among_those_handed_over_with_it(tmp_path, capsys):
    def poisoned():
        for i in range(100):
            images = jnp.full((2, 2), jnp.nan if i == 4 else 1.0)
            yield {"image": images, "index": jnp.array([2 * i, 2 * i + 1])}, {"batches": i + 1}

    create, step = quadratic(skip_nonfinite=True)
    state = train(tmp_path / "skip", create, step, data=poisoned(), steps=8, log_every=8, per_dispatch=4)
    assert np.isfinite(state.params["w"]).all() and "Step 5 skipped" in capsys.readouterr().out
    row = json.loads((tmp_path / "skip" / "nonfinite.jsonl").read_text())
    assert row["step"] == 5 and row["index"] == [8, 9]
    create, step = quadratic()
    with pytest.raises(InputError, match=r"diverged at step 5: .*last good checkpoint is step 4"):
        train(tmp_path / "stop", create, step, data=poisoned(), steps=50, log_every=2, per_dispatch=4)


def test_steps_are_handed_over_up_to_the_next_event():
    schedule = Schedule(23, log_every=10, checkpoint_every=15, sample_every=0, per_dispatch=4)
    step, sizes = 0, []
    while step < 23:
        sizes.append(schedule.next_steps(step))
        step += sizes[-1]
    assert sizes == [4, 4, 2, 4, 1, 4, 1, 3]  # to 10, 15, 20 and the end


def test_a_trace_has_at_least_its_steps_however_many_are_handed_over(tmp_path, capsys):
    trace = tracer(tmp_path, 100)
    for step in (104, 108, 112, 116, 120):
        trace(step)
    assert "Trace of steps 109 to 116" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.xplane.pb"))


def test_learning_rate_schedules():
    warm = learning_rate_schedule(1.0, 10, "constant", 100)
    np.testing.assert_allclose([warm(0), warm(5), warm(10), warm(99)], [0, 0.5, 1, 1])
    cosine = learning_rate_schedule(1.0, 10, "cosine", 110)
    np.testing.assert_allclose([cosine(10), cosine(60), cosine(110)], [1, 0.5, 0], atol=1e-6)
    linear = learning_rate_schedule(1.0, 10, "linear", 110)
    np.testing.assert_allclose([linear(10), linear(35), linear(110)], [1, 0.75, 0], atol=1e-6)
    with pytest.raises(InputError, match="optimizer.decay"):
        learning_rate_schedule(1.0, 10, "quadratic", 100)


def test_clipping_bounds_the_update_of_sgd_like_steps():
    grads, params = {"w": jnp.array([300.0, 400.0])}, {"w": jnp.zeros(2)}

    def first_moment(clip_norm):
        tx = make_optimizer("adam", lambda _: 1.0, b1=0.0, b2=0.0, eps=1.0, weight_decay=0.0, clip_norm=clip_norm)
        return tx.update(grads, tx.init(params), params)[0]["w"]

    np.testing.assert_allclose(first_moment(1.0), [-0.6 / 1.6, -0.8 / 1.8], rtol=1e-5)
    np.testing.assert_allclose(first_moment(0.0), [-300 / 301, -400 / 401], rtol=1e-5)
    with pytest.raises(InputError, match="Did you mean 'adam'"):
        make_optimizer("adma", lambda _: 1.0, b1=0.9, b2=0.9, eps=1.0, weight_decay=0.0, clip_norm=1.0)


def test_ema_warmup_forgets_the_start():
    average = update_ema({"w": jnp.zeros(())}, {"w": jnp.ones(())}, 0.9999, True, jnp.asarray(0))
    np.testing.assert_allclose(average["w"], 0.9, rtol=1e-6)
    late = update_ema({"w": jnp.zeros(())}, {"w": jnp.ones(())}, 0.9999, True, jnp.asarray(10**7))
    np.testing.assert_allclose(late["w"], 1e-4, rtol=1e-2)


@pytest.mark.parametrize("key", ["batch_size", "accumulate", "steps_per_dispatch", "log_every", "checkpoint_every"])
def test_counts_below_one_are_refused_before_anything_is_written(tmp_path, key):
    config = base.get_config()
    config.training[key] = 0
    with pytest.raises(InputError, match=rf"training\.{key}=0: give at least 1"):
        job.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_split_is_refused():
    with pytest.raises(InputError, match=r"training.batch_size=9 cannot be split over 8 devices"):
        check_divisible(9, make_mesh(), "training.batch_size")
