"""The autoregressive prior: its probabilities, its cache, what a code sees, its draws, and guidance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.guidance.classifier_free import Pair
from score_jax.guidance.code_guidance import guided
from score_jax.models.network import Network
from score_jax.models.priors.autoregressive import AutoregressivePrior
from score_jax.prediction.codes import log_prob, of_network
from score_jax.samplers.codes import Choice, draw_alignment, draw_codes, nucleus

CODES, BUCKETS = 3, 3
NETWORK = Network(
    AutoregressivePrior(
        width=8,
        layers=2,
        heads=2,
        components=CODES,
        buckets=BUCKETS,
        alignments=4,
        text_length=4,
        text_width=6,
        text_features=5,
    ),
    (1, 1, CODES),
)
EVERY = np.stack(np.meshgrid(*[np.arange(float(BUCKETS))] * CODES, indexing="ij"), -1).reshape(-1, 1, 1, CODES)


@pytest.fixture(scope="module")
def model():
    params = NETWORK.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    noisy = [leaf + 0.3 * jax.random.normal(jax.random.key(i), leaf.shape) for i, leaf in enumerate(leaves)]
    return of_network(NETWORK, tree.unflatten(noisy))


def conditions(count: int, seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    context, whole = rng.normal(size=(4, 6)), rng.normal(size=5)
    return {
        "context": jnp.broadcast_to(jnp.asarray(context, jnp.float32), (count, 4, 6)),
        "context_mask": jnp.broadcast_to(jnp.array([True, True, True, False]), (count, 4)),
        "text_embedding": jnp.broadcast_to(jnp.asarray(whole, jnp.float32), (count, 5)),
        "alignment": jnp.full(count, seed % 4, jnp.int32),
    }


def probabilities(model, given) -> np.ndarray:
    return np.exp(np.asarray(log_prob(model, jnp.asarray(EVERY, jnp.float32), given)))


def test_probabilities_of_all_codes_sum_to_one(model):
    found = probabilities(model, conditions(len(EVERY)))
    assert found.sum() == pytest.approx(1, abs=1e-5) and found.max() > 2 * found.min()


def test_the_cache_gives_the_logits_of_the_whole_sequence(model):
    x0, given = jnp.asarray(EVERY, jnp.float32), conditions(len(EVERY))
    whole = model.logits(x0, given)
    logits, memory = model.begin(given)
    for place in range(CODES):
        np.testing.assert_allclose(logits, whole[:, place], atol=2e-5)
        if place < CODES - 1:
            logits, memory = model.go_on(x0[:, 0, 0, place].astype(jnp.int32), memory, given)


def test_a_code_sees_those_before_it_and_no_padding(model):
    given, x0 = conditions(1), jnp.zeros((1, 1, 1, CODES))
    found = np.asarray(model.logits(x0, given))
    for place in range(CODES):
        moved = np.abs(np.asarray(model.logits(x0.at[..., place].set(2.0), given)) - found).max(axis=(0, 2))
        assert (moved[: place + 1] == 0).all() and (moved[place + 1 :] > 0).all()
    padding = {**given, "context": given["context"].at[:, 3].add(1.0)}
    np.testing.assert_array_equal(model.logits(x0, padding), found)
    for name in ("context", "text_embedding", "alignment"):
        assert np.abs(model.logits(x0, {**given, name: given[name] + 1}) - found).max() > 1e-3


def shares(model, given, choice) -> np.ndarray:
    keys = jax.random.split(jax.random.key(1), 20_000)
    many = {name: jnp.broadcast_to(each[:1], (len(keys), *each.shape[1:])) for name, each in given.items()}
    codes = jax.jit(lambda keys: draw_codes(model, keys, CODES, many, choice))(keys)
    places = np.asarray(codes) @ BUCKETS ** np.arange(CODES)[::-1]
    return np.bincount(places, minlength=BUCKETS**CODES) / len(keys)


def test_draws_have_the_models_law(model):
    given = conditions(len(EVERY))
    found, law = shares(model, given, Choice()), probabilities(model, given)
    chi_squared = 20_000 * np.sum((found - law) ** 2 / law)
    assert chi_squared < 60  # 26 degrees of freedom: 99.98 %
    assert 20_000 * np.sum((shares(model, given, Choice(temperature=0.3)) - law) ** 2 / law) > 1000


def test_a_nucleus_is_the_likeliest_codes(model):
    np.testing.assert_array_equal(np.isfinite(nucleus(jnp.log(jnp.array([0.1, 0.5, 0.4])), 0.85)), [False, True, True])
    np.testing.assert_array_equal(np.isfinite(nucleus(jnp.log(jnp.array([0.1, 0.5, 0.4])), 1e-6)), [False, True, False])
    given = conditions(len(EVERY))
    likeliest = shares(model, given, Choice(top_p=1e-6))
    each = np.asarray(model.begin(given)[0][0])
    assert (likeliest > 0).sum() == 1 and likeliest.argmax() // BUCKETS ** (CODES - 1) == each.argmax()


def test_guidance_is_a_power_of_the_two_laws(model):
    count, scale = len(EVERY), 2.5
    given, reference = conditions(count), conditions(count, seed=5)
    pair, led = Pair(given, reference), guided(model, scale)
    first, other = (np.exp(jax.nn.log_softmax(model.begin(each)[0][0])) for each in (given, reference))
    law = first**scale * other ** (1 - scale)
    np.testing.assert_allclose(jax.nn.softmax(led.begin(pair)[0][0]), law / law.sum(), rtol=1e-4)
    same = guided(model, 1.0)
    np.testing.assert_allclose(probabilities(same, pair), probabilities(model, given), rtol=1e-4)
    assert led.evaluations == 2
    logits, memory = led.begin(pair)
    x0 = jnp.asarray(EVERY, jnp.float32)
    logits, _ = led.go_on(x0[:, 0, 0, 0].astype(jnp.int32), memory, pair)
    np.testing.assert_allclose(logits, led.logits(x0, pair)[:, 1], atol=5e-5)


def test_the_alignment_is_drawn_from_the_upper_part():
    keys = jax.random.split(jax.random.key(0), 4096)
    counts = np.bincount(np.asarray(draw_alignment(keys, 8, 0.5)), minlength=8)
    assert (counts[:4] == 0).all() and (np.abs(counts[4:] - 1024) < 150).all()
    assert (np.asarray(draw_alignment(keys, 8, 0.99)) == 7).all()


def test_other_lengths_are_one_line(model):
    given = conditions(1)
    with pytest.raises(InputError, match="This prior draws 3 codes, not 2"):
        model.logits(jnp.zeros((1, 1, 1, 2)), given)
    with pytest.raises(InputError, match="This prior's texts have 4 tokens, not 3"):
        model.begin({**given, "context": given["context"][:, :3], "context_mask": given["context_mask"][:, :3]})
