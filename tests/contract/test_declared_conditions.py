"""A network with conditions that the library has never heard of: declared here, they are trained, dropped, guided,
sampled, measured and planned like any other, and nothing else is touched."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.conditioning import conditioners
from score_jax.conditioning.dropout import with_dropout, without_conditions
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs.likelihood import by_ode, likelihood_program
from score_jax.jobs.plan import lower_sampling, lower_training
from score_jax.jobs.sample import Given, draw
from score_jax.models.conditions import Condition
from score_jax.runtime.sharding import make_mesh

SIZE, BATCH = 4, 8


class Depth(nn.Module):
    """x0 is the map of depths that it is given, plus a little of x and time; without one, nothing."""

    dtype: type | None = None

    def conditions(self, image_shape):
        return {
            "depth": Condition(image_shape, null=-1.0),
            "camera": Condition((2,), jnp.int32, null=np.array([7, 7])),
        }

    @nn.compact
    def __call__(self, x, time_label, *, depth, camera, train=False):
        gain = self.param("gain", nn.initializers.ones, (1, 1, 1, 1))
        lens = camera.astype(x.dtype).sum(axis=1).reshape(-1, 1, 1, 1)
        return gain * depth + 0.01 * lens + 0.001 * x


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(builder.NETWORKS, "depth", Depth)
    config = base.get_config()
    config.data.update(name="dead_leaves", image_size=SIZE, channels=1)
    base.replace_section(config, "network", name="depth", dtype="float32")
    config.prediction.output = "x0"
    config.loss.condition_dropout = 0.5
    config.sampler.update(name="ddim", num_steps=3)
    config.sampling.batch_size = BATCH
    config.training.batch_size = BATCH
    config.optimizer.update(learning_rate=1e-2, warmup_steps=0)
    config.likelihood.update(batch_size=BATCH, divergence="exact", rtol=1e-3, atol=1e-3)
    return config


def batch(b=BATCH):
    depth = jax.random.uniform(jax.random.key(1), (b, SIZE, SIZE, 1))
    images = jax.random.randint(jax.random.key(2), (b, SIZE, SIZE, 1), 0, 256).astype(jnp.uint8)
    number = jnp.arange(b, dtype=jnp.int32)
    return {
        "image": images,
        "label": 0 * number,
        "index": number,
        "depth": depth,
        "camera": jnp.ones((b, 2), jnp.int32),
    }


def params_of(gain=1.0):
    return {"gain": jnp.full((1, 1, 1, 1), gain)}


def test_it_is_initialised_counted_and_trained(config):
    built = builder.experiment(config)
    state, step = jax.jit(built.create_state)(), jax.jit(built.train_step)
    assert built.network.flops() > 0 and built.num_classes == 0
    after, metrics = step(state, batch())
    assert np.isfinite(metrics["loss"]) and float(jnp.abs(after.params["gain"] - state.params["gain"]).max()) > 0
    with pytest.raises(InputError, match="has the condition 'camera', but the data have no entry of this name"):
        built.train_step(state, {name: rows for name, rows in batch().items() if name != "camera"})


def test_each_condition_is_dropped_on_its_own_at_its_rate(config):
    declared, keys = builder.experiment(config).network.conditions, jax.random.split(jax.random.key(0), 2000)
    given = {"depth": jnp.ones((2000, 1, 1, 1)), "camera": jnp.ones((2000, 2), jnp.int32)}
    declared = declared | {"depth": Condition((1, 1, 1), null=-1.0)}
    found = with_dropout(keys, given, declared, dict.fromkeys(given, 0.25))
    dropped = {"depth": found["depth"].ravel() == -1, "camera": (found["camera"] == 7).all(axis=1)}
    for share in dropped.values():
        assert abs(float(share.mean()) - 0.25) < 0.04
    assert abs(float((dropped["depth"] & dropped["camera"]).mean()) - 0.25**2) < 0.02
    kept = with_dropout(keys, given, declared, dict.fromkeys(given, 0.0))
    assert all(kept[name] is given[name] for name in given)
    assert (without_conditions(given, declared)["camera"] == 7).all()


def test_its_samples_follow_the_condition_and_guidance_goes_further(config):
    rows = batch()
    given = Given(conditions={name: np.asarray(rows[name]) for name in ("depth", "camera")})
    pixels = {}
    for scale in (1.0, 2.0):
        config.guidance.scale = scale
        built = builder.experiment(config)
        drawn = draw(built, params_of(), make_mesh(), range(BATCH), batch_size=BATCH, seed=0, given=given)
        pixels[scale] = drawn.images
    # The model's x0 is depth + 0.02; without conditions -1 + 0.14; guided by 2: 2 (depth + 0.02) - (-0.86).
    expected = {1.0: rows["depth"] + 0.02, 2.0: 2 * (rows["depth"] + 0.02) + 0.86}
    for scale, x0 in expected.items():
        levels = np.clip((np.asarray(x0) + 1) * 127.5, 0, 255)
        assert np.abs(pixels[scale] - levels).max() < 3


def test_its_likelihood_knows_the_condition(config):
    built, rows = builder.experiment(config), batch()
    program = likelihood_program(make_mesh(), by_ode(built, None))
    found = [program(params_of(gain), jax.random.key(0), rows)["bits_per_dim"] for gain in (1.0, 0.0)]
    assert np.isfinite(found[0]).all() and not np.allclose(*found)


def test_its_programs_are_planned(config):
    built, mesh = builder.experiment(config), make_mesh()
    for lowered in (lower_training, lower_sampling):
        text = lowered(built, mesh)[0].as_text()
        assert f"{BATCH}x{SIZE}x{SIZE}x1xf32" in text and f"{BATCH}x2xi32" in text


@pytest.mark.parametrize("solver", ["ddim", "ode", "heun", "predictor_corrector"])
def test_conditions_are_made_once_per_batch_of_samples(config, solver, monkeypatch):
    """Outside of the solver's loop, which asks the network many times: counted as the program runs."""
    made, original = [], conditioners.given

    def counted(name):
        conditioner = original(name)

        def counting(batch, x0, codec, frozen):
            jax.debug.callback(lambda: made.append(name))
            return conditioner(batch, x0, codec, frozen)

        return counting

    monkeypatch.setattr(conditioners, "given", counted)
    config.sampler.name = solver
    if solver != "ode":
        config.sampler.num_steps = 5
    rows = batch()
    given = Given(conditions={name: np.asarray(rows[name]) for name in ("depth", "camera")})
    mesh = make_mesh(devices=jax.devices()[:1])
    drawn = draw(builder.experiment(config), params_of(), mesh, range(BATCH), batch_size=BATCH, seed=0, given=given)
    jax.effects_barrier()
    assert drawn.nfe.min() >= 5
    assert sorted(made) == ["camera", "depth"]
