"""Sharpness-aware steps, bounds of parameters, and what weight decay acts on, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax.errors import InputError
from score_jax.training.objective import Group, Objective, Outcome, per_example
from score_jax.training.optimizer import at_most, make_optimizer
from score_jax.training.sharpness import sharpness_aware
from score_jax.training.state import create_state
from score_jax.training.step import make_train_step

CURVATURE = jnp.array([4.0, 1.0])


def quadratic(params):
    return jnp.sum(CURVATURE * params["w"] ** 2) / 2


def test_the_gradient_of_a_quadratic_is_that_at_the_worst_place_nearby():
    """g = A w, and the gradient there is A (w + rho g / |g|); the value is that at w."""
    w = jnp.array([0.5, -1.5])
    value, found = sharpness_aware(jax.value_and_grad(quadratic), 0.1)({"w": w})
    g = np.array([2.0, -1.5])
    np.testing.assert_allclose(found["w"], CURVATURE * (w + 0.1 * g / 2.5), rtol=1e-6)
    np.testing.assert_allclose(value, quadratic({"w": w}))


def test_where_the_gradient_is_zero_it_stays_zero():
    _, found = sharpness_aware(jax.value_and_grad(quadratic), 0.1)({"w": jnp.zeros(2)})
    np.testing.assert_array_equal(found["w"], 0)


def test_off_it_is_the_function_itself():
    gradients = jax.value_and_grad(quadratic)
    assert sharpness_aware(gradients, 0.0) is gradients


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_train_step_takes_the_rho_of_its_group(accumulate):
    """Values (w - x)^2 / 2 have the mean gradient w - 2, of length 2 at 0: that at 0 - 0.5 is -2.5."""

    def values(params, batch, times, keys, dropout_key):
        return (params["w"] - batch["image"]) ** 2 / 2

    group = Group(lambda key: {"w": jnp.zeros(())}, optax.sgd(1.0), per_example(values), 0.0, False, sam_rho=0.5)
    state = create_state({"model": group}, jax.random.key(0))
    step = jax.jit(make_train_step({"model": group}, accumulate=accumulate))
    state, metrics = step(state, {"image": jnp.array([1.0, 3.0])})
    np.testing.assert_allclose([state.params["w"], metrics["loss"], metrics["grad_norm"]], [2.5, 2.5, 2.5], rtol=1e-6)


def test_statistics_are_those_of_the_first_gradient():
    def values(params, around, batch, times, keys, dropout_key):
        return Outcome((params["w"] - batch["image"]) ** 2, {}, around.statistics + params["w"])

    group = Group(lambda key: {"w": jnp.ones(())}, optax.sgd(0.1), Objective(values), 0.0, False, sam_rho=0.5)
    state = create_state({"model": group}, jax.random.key(0), jnp.zeros(()))
    state, _ = jax.jit(make_train_step({"model": group}))(state, {"image": jnp.array([1.0, 3.0])})
    assert float(state.statistics) == 1


def test_a_bound_holds_after_a_step_and_others_are_as_they_were():
    tx = at_most(optax.sgd(1.0), "scale", 2.0)
    params = {"scale": jnp.float32(1.5), "inner": {"scale": jnp.float32(-3.0), "w": jnp.float32(9.0)}}
    gradients = {"scale": jnp.float32(-4.0), "inner": {"scale": jnp.float32(-1.0), "w": jnp.float32(-1.0)}}
    updates, state = tx.update(gradients, tx.init(params), params)
    found = optax.apply_updates(params, updates)
    assert (found["scale"], found["inner"]["scale"], found["inner"]["w"]) == (2.0, -2.0, 10.0)
    updates, _ = tx.update({"scale": jnp.float32(1.0), "inner": gradients["inner"]}, state, found)
    assert optax.apply_updates(found, updates)["scale"] == 1.0  # it is not kept at the bound


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_weight_decay_of_matrices_leaves_gains_and_biases_alone(name):
    settings = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.5, "clip_norm": 0.0}
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(())}
    zeros = jax.tree.map(jnp.zeros_like, params)
    moved = {}
    for decayed in ("all", "matrices"):
        tx = make_optimizer(name, optax.constant_schedule(0.1), decayed=decayed, **settings)
        updates, _ = tx.update(zeros, tx.init(params), params)
        moved[decayed] = {key: bool(jnp.any(update != 0)) for key, update in updates.items()}
    assert all(moved["all"].values())
    assert moved["matrices"] == {"kernel": True, "bias": False, "scale": False}
    with pytest.raises(InputError, match="Unknown optimizer.decayed 'matrix'.*Did you mean 'matrices'"):
        make_optimizer(name, optax.constant_schedule(0.1), decayed="matrix", **settings)
