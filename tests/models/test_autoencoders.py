"""First stages: their blocks, posteriors and codebooks; that they equal the originals is for the parity files."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_jax.errors import InputError
from score_jax.models.autoencoders.autoencoder import AutoencoderKL, AutoencoderVQ
from score_jax.models.autoencoders.blocks import Attention, ResidualBlock, halve, normalise
from score_jax.models.autoencoders.posterior import Posterior, posterior_of
from score_jax.models.autoencoders.quantizer import nearest, quantize, usage

TINY = dict(channel_mult=(1, 1), latent_channels=3, embed_channels=2, channels=32, num_res_blocks=1)
X = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))


def initialised(network, *args, **kwargs):
    return jax.jit(lambda key: network.init(key, *args, **kwargs))(jax.random.key(0))


class Halved(nn.Module):
    with_conv: bool

    @nn.compact
    def __call__(self, x):
        return halve(x, "conv", with_conv=self.with_conv)


@pytest.mark.parametrize(("tap", "shift"), [((0, 0), (0, 0)), ((2, 1), (2, 1)), ((2, 2), (2, 2))])
def test_halving_pads_at_the_bottom_and_at_the_right_alone(tap, shift):
    kernel = jnp.zeros((3, 3, 1, 1)).at[tap].set(1)
    params = {"conv": {"kernel": kernel, "bias": jnp.zeros(1)}}
    found = Halved(True).apply({"params": params}, X[..., :1])
    padded = np.pad(X[..., :1], ((0, 0), (0, 1), (0, 1), (0, 0)))
    np.testing.assert_array_equal(found, padded[:, shift[0] :: 2, shift[1] :: 2][:, :4, :4])


def test_halving_without_a_convolution_has_no_parameters():
    found = Halved(False).apply({}, X)
    np.testing.assert_allclose(found, X.reshape(2, 4, 2, 4, 2, 3).mean((2, 4)), atol=1e-6)


def test_norms_have_epsilon_1e_6(x64):
    """Values of variance 1e-6 come out with variance 1/2."""
    values = jnp.where(jnp.arange(4) % 2 == 0, 1e-3, -1e-3).reshape(1, 2, 2, 1) * jnp.ones(32).reshape(1, 1, 1, 32)
    found = nn.compact(lambda self, x: normalise(x, "norm"))
    module = type("Normalised", (nn.Module,), {"__call__": found})()
    y = module.apply(module.init(jax.random.key(0), values), values)
    np.testing.assert_allclose(jnp.abs(y), math.sqrt(0.5), rtol=1e-6)


def test_fewer_groups_keep_what_differs_between_channels():
    """With one channel to a group nothing of a constant is left; with two the sign of their difference is."""
    values = jnp.broadcast_to(jnp.where(jnp.arange(32) % 2 == 0, 1.0, -1.0).reshape(1, 1, 1, 32), (1, 2, 2, 32))
    for groups, expected in ((32, 0.0), (16, 1.0)):
        found = nn.compact(lambda self, x, groups=groups: normalise(x, "norm", groups))
        module = type("Normalised", (nn.Module,), {"__call__": found})()
        y = module.apply(module.init(jax.random.key(0), values), values)
        np.testing.assert_allclose(y, expected * values, atol=1e-5)


def test_attention_without_queries_adds_the_mean_of_the_values():
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 32))
    params = initialised(Attention(), x)["params"]
    params["query"] = jax.tree.map(jnp.zeros_like, params["query"])
    h = Attention().apply({"params": params}, x)
    grouped = x.reshape(2, 16, 32)
    normed = (grouped - grouped.mean(1, keepdims=True)) / jnp.sqrt(grouped.var(1, keepdims=True) + 1e-6)
    value, out = params["value"], params["out"]
    mean = (normed.mean(1) @ value["kernel"] + value["bias"][None]) @ out["kernel"] + out["bias"][None]
    np.testing.assert_allclose(h - x, jnp.broadcast_to(mean[:, None, None], x.shape), atol=1e-5)


def test_dropout_acts_in_training_alone_and_before_the_second_convolution():
    x = jax.random.normal(jax.random.key(1), (2, 4, 4, 32))
    block = ResidualBlock(32, dropout=0.5)
    variables = initialised(block, x, False)
    dropped = block.apply(variables, x, True, rngs={"dropout": jax.random.key(0)})
    plain = block.apply(variables, x, False)
    assert np.abs(dropped - plain).max() > 1e-3
    np.testing.assert_array_equal(ResidualBlock(32).apply(variables, x, True), plain)


def places_of_attention(network):
    shapes = jax.eval_shape(network.init, jax.random.key(0), X)["params"]
    return {f"{part} {name}" for part in ("encoder", "decoder") for name in shapes[part] if "attention" in name}


def test_attention_is_at_the_factors_that_are_named():
    assert places_of_attention(AutoencoderKL(**TINY, middle_attention=False)) == set()
    middle = {"encoder middle_attention", "decoder middle_attention"}
    assert places_of_attention(AutoencoderKL(**TINY)) == middle
    at_two = {"encoder down_1_attention_0", "decoder up_1_attention_0", "decoder up_1_attention_1"}
    assert places_of_attention(AutoencoderKL(**TINY, attention_factors=(2, 4))) == middle | at_two


@pytest.fixture(scope="module")
def of_kl():
    return initialised(AutoencoderKL(**TINY), X)


def test_there_and_back_by_the_mean_of_a_posterior(of_kl):
    network = AutoencoderKL(**TINY)

    @jax.jit
    def run(variables, x):
        moments = network.apply(variables, x, method="encode")
        posterior = network.apply(variables, x, method="posterior")
        decoded = network.apply(variables, posterior.mean, method="decode")
        return moments, posterior, decoded, network.apply(variables, x)

    moments, posterior, decoded, found = run(of_kl, X)
    np.testing.assert_array_equal(moments, jnp.concatenate([posterior.mean, posterior.log_var], axis=-1))
    assert network.factor == 2 and moments.shape == (2, 4, 4, 4) and found.shape == X.shape
    np.testing.assert_allclose(decoded, found, atol=1e-5)


def test_there_and_back_by_a_codebook(of_kl):
    """Its encoder and decoder have the KL one's parameters, but for those that make moments."""
    network = AutoencoderVQ(**TINY, codebook_size=20)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X)["params"]
    params = {name: of_kl["params"][name] for name in ("decoder", "post_quant_conv")}
    params["encoder"] = of_kl["params"]["encoder"] | {
        "conv_out": jax.tree.map(lambda leaf: leaf[..., :3], of_kl["params"]["encoder"]["conv_out"])
    }
    params["quant_conv"] = {"kernel": jnp.ones((1, 1, 3, 2)), "bias": jnp.zeros(2)}
    params["codebook"] = jax.random.normal(jax.random.key(1), (20, 2))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)

    @jax.jit
    def run(params, x):
        def apply(method, *args):
            return network.apply({"params": params}, *args, method=method)

        quantized = apply("quantize", apply("encode", x))
        entries = apply("entries", quantized.indices)
        return quantized.values, entries, apply("decode", entries), apply("__call__", x)

    values, entries, decoded, found = run(params, X)
    np.testing.assert_allclose(values, entries, atol=1e-6)
    np.testing.assert_allclose(decoded, found, atol=1e-5)


@pytest.mark.slow
def test_compute_dtype_leaves_parameters_and_outputs_in_float32(of_kl):
    network, low = AutoencoderKL(**TINY), AutoencoderKL(**TINY, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(low.init, jax.random.key(0), X)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    found, exact = (jax.jit(module.apply)(of_kl, X) for module in (low, network))
    assert found.dtype == jnp.float32
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="Images of 8 x 9 for an autoencoder of factor 2"):
        jax.eval_shape(AutoencoderKL(**TINY).init, jax.random.key(0), jnp.zeros((1, 8, 9, 3)))
    with pytest.raises(InputError, match="48 channels at a level: its norms have 32 .*other network.norm_groups"):
        jax.eval_shape(AutoencoderKL(**TINY | {"channels": 48}).init, jax.random.key(0), X)
    with pytest.raises(InputError, match="Moments of 3 channels"):
        posterior_of(X)
    with pytest.raises(InputError, match="Latents of 3 channels for a codebook of 2"):
        quantize(jnp.zeros((4, 2)), X)


def test_log_variances_are_clamped_and_then_have_no_gradient():
    log_var = jnp.array([-1e3, -31, -30, -1, 0, 20, 21, 1e3])
    moments = jnp.concatenate([jnp.zeros(8), log_var]).reshape(1, 1, 1, 16)
    clamped = [-30, -30, -30, -1, 0, 20, 20, 20]
    np.testing.assert_array_equal(posterior_of(moments).log_var[0, 0, 0], clamped)
    np.testing.assert_allclose(posterior_of(moments).std[0, 0, 0], np.exp(np.array(clamped) / 2), rtol=1e-6)
    gradient = jax.grad(lambda moments: posterior_of(moments).kl()[0])(moments)[0, 0, 0, 8:]
    assert (gradient[jnp.array([0, 1, 6, 7])] == 0).all() and (gradient[jnp.array([3, 5])] != 0).all()


def test_posterior_is_a_normal_distribution(x64):
    mean, log_var, y, eps = jax.random.normal(jax.random.key(0), (4, 3, 2, 2, 5), jnp.float64)
    posterior, std = Posterior(mean, log_var), np.exp(log_var / 2)
    np.testing.assert_allclose(posterior.nll(y), -norm.logpdf(y, mean, std).sum((1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(norm.cdf(posterior.draw(eps), mean, std), norm.cdf(eps), rtol=1e-12)
    # The KL divergence is the mean of log q - log p over latents of q, here over quantiles.
    quantiles = norm.ppf((np.arange(20000) + 0.5) / 20000).reshape(-1, 1, 1, 1, 1)
    z = np.asarray(mean) + np.asarray(std) * quantiles
    integrand = norm.logpdf(z, mean, std) - norm.logpdf(z)
    np.testing.assert_allclose(posterior.kl(), integrand.mean(0).sum((1, 2, 3)), rtol=1e-3)
    zeros = jnp.zeros((1, 1, 1, 2))
    np.testing.assert_array_equal(Posterior(zeros, zeros).kl(), [0.0])


@pytest.mark.parametrize("size", [7, 1024, 2500])
def test_nearest_is_that_of_all_distances(size, x64):
    codebook, z = jax.random.normal(jax.random.key(0), (size, 3)), jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    distances = ((np.asarray(z)[..., None, :] - np.asarray(codebook)) ** 2).sum(-1)
    np.testing.assert_array_equal(nearest(codebook, z), distances.argmin(-1))


def test_of_equals_the_first_is_nearest():
    """Within a part of the codebook that is compared at once, and in different parts; -1 and 1 are as far from 0."""
    codebook = jnp.full((3000, 1), 9.0).at[jnp.array([5, 17, 1023, 1024, 2999])].set(1.0).at[2000].set(-1.0)
    z = jnp.array([1.0, 0.0, -1.0]).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(nearest(codebook, z)[0, 0], [5, 5, 2000])


@pytest.mark.parametrize(("legacy", "of_z", "of_codebook"), [(True, 1.0, 0.25), (False, 0.25, 1.0)])
def test_quantised_values_pass_gradients_and_beta_weighs_one_term(legacy, of_z, of_codebook):
    codebook = jnp.array([[0.0, 0.0], [1.0, 2.0], [50.0, 50.0]])
    z = jnp.array([[0.1, 0.2], [1.5, 2.0], [0.0, 0.5], [1.0, 1.0]]).reshape(2, 1, 2, 2)
    nearest_values = codebook[jnp.array([0, 1, 0, 1])].reshape(z.shape)
    cotangent = jax.random.normal(jax.random.key(0), z.shape)

    def values(codebook, z):
        return jnp.sum(cotangent * quantize(codebook, z, legacy=legacy).values)

    def loss(codebook, z):
        return jnp.mean(quantize(codebook, z, legacy=legacy).loss)

    quantized = quantize(codebook, z, legacy=legacy)
    np.testing.assert_allclose(quantized.values, nearest_values, atol=1e-7)
    np.testing.assert_array_equal(quantized.indices.reshape(-1), [0, 1, 0, 1])
    of_values = jax.grad(values, (0, 1))(codebook, z)
    np.testing.assert_array_equal(of_values[0], jnp.zeros_like(codebook))
    np.testing.assert_array_equal(of_values[1], cotangent)
    by_codebook, by_z = jax.grad(loss, (0, 1))(codebook, z)
    error = np.asarray(z - nearest_values)
    np.testing.assert_allclose(by_z, of_z * 2 * error / z.size, rtol=1e-6)
    summed = np.stack([error[:, 0, 0].sum(0), error[:, 0, 1].sum(0), np.zeros(2)])
    np.testing.assert_allclose(by_codebook, -of_codebook * 2 * summed / z.size, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(quantized.loss, 1.25 * (error**2).mean((1, 2, 3)), rtol=1e-6)


def test_usage_of_a_codebook(x64):
    perplexity, used = usage(jnp.array([0, 3, 5, 0, 3, 5]).reshape(2, 1, 3), 8)
    assert int(used) == 3 and float(perplexity) == pytest.approx(3, rel=1e-8)
    one, used = usage(jnp.full((2, 4, 4), 7), 8)
    assert int(used) == 1 and float(one) == pytest.approx(1 / (1 + 1e-10), rel=1e-14) and float(one) < 1


def test_codebook_begins_within_its_bounds():
    network, z = AutoencoderVQ(**TINY, codebook_size=500), jnp.zeros((1, 2, 2, 2))
    codebook = network.init(jax.random.key(0), z, method="quantize")["params"]["codebook"]
    assert codebook.shape == (500, 2)
    assert 0.0019 < codebook.max() <= 1 / 500 and -1 / 500 <= codebook.min() < -0.0019
