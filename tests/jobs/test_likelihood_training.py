"""Training by the exact likelihood: its value, its gradient, and a run that starts from another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import COUNT, experiment, source
from sections import loss_of

from score_jax import builder
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs.train import restore_params, train
from score_jax.prediction.predictor import from_score
from score_jax.runtime.sharding import make_mesh
from score_jax.training.objective import Surroundings

BATCH = {
    "image": jnp.asarray(np.stack([row["image"] for row in source().rows])),
    "label": jnp.zeros(COUNT, int),
    "index": jnp.arange(COUNT),
}


def likelihood_loss(mean_and_log_std):
    """The objective of a model that says N(mean, std²) of each pixel, of known data."""
    built = experiment()
    config = built.config.copy_and_resolve_references()
    config.unlock()
    config.loss.update(name="likelihood", ode_steps=12)
    config.data.dequantize = True

    def predict(params, x, t, train=False, rngs=None, **conditions):
        mean, log_std = params
        alpha, sigma = (level[:, None, None, None] for level in (built.process.alpha(t), built.process.sigma(t)))
        score = -(x - alpha * mean) / (alpha**2 * jnp.exp(2 * log_std) + sigma**2)
        return from_score(score, x, t, built.process)

    loss = loss_of(config, built.process, built.network, predict)
    keys = jax.random.split(jax.random.key(1), COUNT)
    times, factors = loss.draw(jax.random.key(0), COUNT, None)
    around = Surroundings({}, None, None, jnp.array(0))
    found = loss.values(mean_and_log_std, around, BATCH, times, keys, jax.random.key(0))
    return (factors * found.values).mean()


def test_value_and_gradient_are_those_of_the_closed_form():
    """Bits/dim of N(mean, std²), whose slopes at its maximum are 0, and known elsewhere."""
    pixels = (np.asarray(BATCH["image"], float) + 0.5) / 128 - 1

    def closed(params):
        return -(
            jax.scipy.stats.norm.logpdf(pixels, params[0], jnp.exp(params[1])).mean() + jnp.log(2 / 256)
        ) / jnp.log(2.0)

    params = (jnp.array(0.1), jnp.array(-0.8))
    value, slopes = jax.jit(jax.value_and_grad(likelihood_loss))(params)
    exact, exact_slopes = jax.value_and_grad(closed)(params)
    np.testing.assert_allclose(value, exact, atol=5e-3)
    np.testing.assert_allclose(slopes, exact_slopes, atol=1e-2)
    assert abs(exact_slopes[1]) > 0.5


def tiny(**training):
    config = base.get_config()
    config.data.update(name="dead_leaves", image_size=4, channels=1, flip=False, dequantize=True)
    config.data.update(train_split="train[:16]", eval_split="test[:8]")
    config.network.update(channels=8, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), dropout=0.1)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=0)
    config.training.update(batch_size=8, steps=2, log_every=1, checkpoint_every=2, sample_every=0, **training)
    return config


@pytest.mark.slow
def test_a_run_starts_from_another_and_goes_on_by_likelihood(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    train(tiny(), first)
    config = tiny(start_from=str(first))
    config.loss.update(name="likelihood", ode_steps=2)
    config.training.steps = 1
    config.optimizer.learning_rate = 1e-9
    train(config, second)
    assert f"Starting from step 2 of {first}" in capsys.readouterr().out
    mesh = make_mesh()
    (before, _), (after, step) = (
        restore_params(c, builder.experiment(c), folder, mesh) for c, folder in ((tiny(), first), (config, second))
    )
    assert step == 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), before, after)
    wider = tiny(start_from=str(first))
    wider.network.channels = 16
    with pytest.raises(InputError, match="has another network"):
        train(wider, tmp_path / "third")


def test_what_cannot_be_trained_so_is_refused():
    config = tiny()
    config.loss.name, config.data.dequantize = "likelihood", False
    with pytest.raises(InputError, match="give data.dequantize=True"):
        builder.experiment(config)
    config = tiny()
    config.loss.name = "likelihood"
    base.replace_section(config, "process", name="vp_chain", num_levels=1000)
    config.prediction.label = "index"
    config.sampler.update(name="ancestral")
    with pytest.raises(InputError, match="Unknown loss.name"):
        builder.experiment(config)
