"""The RefineNets' own promises; that they equal the originals is for the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.convert.releases import buffers_of, table_of
from score_jax.errors import InputError
from score_jax.models.blocks.instance_norm import ConditionalNorm, InstanceNormPlus, VarianceNorm
from score_jax.models.network import Network
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.models.unets.refinenet import Design, ResidualBlock, average_pool, max_pool, resize_align_corners
from score_jax.processes.levels import NoiseLevels

LEVELS = NoiseLevels(50.0, 0.01, 6)
TINY_NCSN, TINY_V2 = NCSN(4, 6), NCSNv2(4, LEVELS)
NETWORKS = {
    "ncsn": TINY_NCSN,
    "ncsn_deeper": TINY_NCSN.clone(topology="deeper", normalization="instance"),
    "ncsn_unconditional": TINY_NCSN.clone(num_levels=None),
    "ncsnv2": TINY_V2,
    "ncsnv2_deeper": TINY_V2.clone(variant="deeper"),
    "ncsnv2_deepest": TINY_V2.clone(variant="deepest"),
    "ncsnv2_variance": TINY_V2.clone(normalization="variance", activation="swish"),
}
every_network = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
X, LABEL = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3)), jnp.array([0.0, 4.0])
RNG = np.random.default_rng(0)


def shapes_of(net, image_shape=(8, 8, 3)):
    return Network(net, image_shape).shapes()


def randomised(net):
    """Parameters in which no norm is the identity."""
    keys = iter(jax.random.split(jax.random.key(1), 400))
    return jax.tree.map(lambda s: 0.3 * jax.random.normal(next(keys), s.shape), shapes_of(net))


def run(net, params, x=X, label=LABEL):
    return jax.jit(lambda x, label: net.apply({"params": params}, x, label))(x, label)


@pytest.mark.parametrize(
    ("net", "image_shape", "count"),
    [
        (NCSN(128, 10), (32, 32, 3), 30_117_635),
        (NCSN(64, 10), (28, 28, 1), 7_638_657),
        (NCSNv2(128, LEVELS), (32, 32, 3), 29_694_083),
        (NCSNv2(128, LEVELS, "deeper"), (128, 128, 3), 83_445_379),
        (NCSNv2(128, LEVELS, "deepest"), (256, 256, 3), 94_132_611),
    ],
)
def test_has_the_published_number_of_parameters(net, image_shape, count):
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes_of(net, image_shape))) == count


# The norms, against their definitions.

FEATURES = RNG.normal(size=(3, 5, 4, 6)) * RNG.uniform(0.5, 2, size=6) + RNG.normal(size=6)


def normalized(x, gamma, beta, alpha=None):
    """InstanceNorm++ of the paper's appendix A.1, one example and channel after the other."""
    out = np.zeros_like(x)
    for b in range(x.shape[0]):
        means = x[b].mean((0, 1))
        for c in range(x.shape[3]):
            h = (x[b, ..., c] - means[c]) / np.sqrt(x[b, ..., c].var() + 1e-5)
            if alpha is not None:
                h = h + alpha[b][c] * (means[c] - means.mean()) / np.sqrt(means.var(ddof=1) + 1e-5)
            out[b, ..., c] = gamma[b][c] * h + beta[b][c]
    return out


@pytest.mark.usefixtures("x64")
def test_instance_norm_plus_is_its_definition():
    params = {name: jnp.asarray(RNG.normal(size=6)) for name in ("gamma", "alpha", "beta")}
    ours = InstanceNormPlus().apply({"params": params}, jnp.asarray(FEATURES))
    gamma, alpha, beta = (np.tile(params[name], (3, 1)) for name in ("gamma", "alpha", "beta"))
    np.testing.assert_allclose(ours, normalized(FEATURES, gamma, beta, alpha), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "count"), [("instance_plus", 3), ("instance", 2), ("variance", 1), ("none", 2)])
@pytest.mark.usefixtures("x64")
def test_conditional_norm_looks_its_coefficients_up(kind, count):
    table, label = RNG.normal(size=(4, count * 6)), jnp.array([2.0, 0.0, 2.0])
    ours = ConditionalNorm(4, kind).apply({"params": {"table": jnp.asarray(table)}}, jnp.asarray(FEATURES), label)
    gamma, *others = np.split(table[[2, 0, 2]], count, axis=1)
    if kind in ("instance_plus", "instance"):
        expected = normalized(FEATURES, gamma, others[-1], *others[:-1])
    elif kind == "variance":
        expected = gamma[:, None, None] * FEATURES / np.sqrt(FEATURES.var((1, 2), ddof=1, keepdims=True) + 1e-5)
    else:
        expected = gamma[:, None, None] * FEATURES + others[0][:, None, None]
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_variance_norm_is_its_definition():
    alpha = RNG.normal(size=6)
    ours = VarianceNorm().apply({"params": {"alpha": jnp.asarray(alpha)}}, jnp.asarray(FEATURES))
    expected = alpha * FEATURES / np.sqrt(FEATURES.var((1, 2), ddof=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_initial_coefficients_are_near_one_and_shifts_are_zero():
    params = ConditionalNorm(50).init(jax.random.key(0), jnp.ones((1, 2, 2, 40)), jnp.zeros(1))
    scales, shifts = np.split(params["params"]["table"], [80], axis=1)
    assert np.mean(scales) == pytest.approx(1, abs=1e-3)
    assert np.std(scales) == pytest.approx(0.02, rel=0.05)
    assert shifts.shape == (50, 40) and not shifts.any()


# The operations, against SciPy's and NumPy's.


@pytest.mark.parametrize(("size", "new"), [((4, 4), (8, 8)), ((3, 5), (7, 12)), ((6, 8), (3, 8)), ((1, 2), (4, 5))])
def test_resize_keeps_the_corners_and_is_linear_between(size, new):
    x = RNG.normal(size=(2, *size, 3))
    expected = x
    for axis in (1, 2):
        places = np.linspace(0, size[axis - 1] - 1, new[axis - 1])
        line = lambda values, places=places: np.interp(places, np.arange(len(values)), values)  # noqa: E731
        expected = np.apply_along_axis(line, axis, expected)
    ours = resize_align_corners(jnp.asarray(x, jnp.float32), *new)
    assert ours.shape == (2, *new, 3)
    np.testing.assert_allclose(ours, expected, atol=2e-6)


def test_pools_keep_the_size_and_count_zeros_outside_in_the_mean_only():
    x = RNG.normal(size=(2, 6, 7, 3)).astype(np.float32) - 3
    window = (1, 5, 5, 1)
    mean = ndimage.uniform_filter(x, window, mode="constant", cval=0.0)
    np.testing.assert_allclose(average_pool(jnp.asarray(x)), mean, atol=1e-5)
    largest = ndimage.maximum_filter(x, window, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x)), largest)


def block_and_params(down, dilation):
    """A block whose branch is zero, so that its shortcut is left."""
    design = Design(lambda name: InstanceNormPlus(name=name), None, max_pool, jax.nn.elu, None)
    block = ResidualBlock(5 if down else 3, down, dilation, design)
    params = block.init(jax.random.key(0), X, LABEL)["params"]
    params["conv_2"] = jax.tree.map(jnp.zeros_like, params["conv_2"])
    return block, params


def test_shortcut_of_a_halving_block_is_the_mean_of_a_pointwise_convolution():
    block, params = block_and_params(down=True, dilation=1)
    projected = X @ params["shortcut"]["kernel"][0, 0] + params["shortcut"]["bias"][None, None, None]
    expected = sum(projected[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    np.testing.assert_allclose(block.apply({"params": params}, X, LABEL), expected, atol=1e-5)


def test_shortcut_of_a_dilated_block_sees_pixels_that_far_apart():
    block, params = block_and_params(down=True, dilation=2)
    apply = jax.jit(lambda x: block.apply({"params": params}, x, LABEL))
    moved = np.any(apply(X.at[:, 4, 4].add(1.0)) != apply(X), axis=(0, 3))
    assert sorted(zip(*np.nonzero(moved), strict=True)) == [(i, j) for i in (2, 4, 6) for j in (2, 4, 6)]


def test_shortcut_of_a_plain_block_is_the_identity():
    block, params = block_and_params(down=False, dilation=1)
    assert "shortcut" not in params
    np.testing.assert_array_equal(block.apply({"params": params}, X, LABEL), X)


# The networks.


@every_network
def test_names_of_the_release_go_there_and_back(net):
    network, params = Network(net, (8, 8, 3)), randomised(net)
    release = "ncsnv2" if isinstance(net, NCSNv2) else "ncsn"
    table = table_of(release, network)
    theirs = to_theirs(params, table)
    assert len(theirs) == len(jax.tree.leaves(params))
    extra = {"sigmas": LEVELS.sigmas} if release == "ncsnv2" else {}
    back = to_ours(theirs | extra, params, table, buffers=buffers_of(release, network))
    jax.tree.map(np.testing.assert_array_equal, params, back)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (
            NETWORKS["ncsn"],
            {
                "begin_conv.weight": (4, 3, 3, 3),
                "res2.0.conv2.conv.weight": (8, 4, 3, 3),
                "res2.0.shortcut.conv.weight": (8, 4, 1, 1),
                "res3.0.shortcut.weight": (8, 8, 3, 3),
                "res4.1.normalize2.embed.weight": (6, 24),
                "refine2.adapt_convs.1.2_1_norm.embed.weight": (6, 24),
                "refine3.msf.convs.1.bias": (4,),
                "refine4.output_convs.3_2_conv.weight": (4, 4, 3, 3),
                "normalizer.embed.weight": (6, 12),
            },
        ),
        (
            NETWORKS["ncsnv2_deepest"],
            {
                "res31.0.conv2.conv.weight": (8, 8, 3, 3),
                "res4.0.shortcut.weight": (16, 8, 3, 3),
                "refine1.crp.convs.1.weight": (16, 16, 3, 3),
                "refine2.msf.convs.0.weight": (8, 16, 3, 3),
                "refine31.adapt_convs.1.1_2_conv.weight": (8, 8, 3, 3),
                "refine5.output_convs.3_1_conv.weight": (4, 4, 3, 3),
                "normalizer.gamma": (4,),
                "end_conv.bias": (3,),
            },
        ),
    ],
    ids=["ncsn", "ncsnv2_deepest"],
)
def test_names_are_those_of_the_release(net, expected):
    params = jax.tree.map(lambda s: np.zeros(s.shape), shapes_of(net))
    theirs = to_theirs(params, table_of("ncsn", Network(net, (8, 8, 3))))
    assert {name: theirs[name].shape for name in expected} == expected


@every_network
def test_output_is_like_the_image(net):
    y = jax.eval_shape(net.apply, {"params": shapes_of(net)}, X, LABEL)
    assert y.shape == X.shape and y.dtype == jnp.float32


def test_labels_choose_the_score_of_ncsn_but_not_of_its_baseline():
    params = randomised(TINY_NCSN)
    changed = run(TINY_NCSN, params, label=jnp.array([0.0, 5.0])) - run(TINY_NCSN, params)
    assert np.all(changed[0] == 0) and np.abs(changed[1]).max() > 1e-3
    baseline = NETWORKS["ncsn_unconditional"]
    params = randomised(baseline)
    np.testing.assert_array_equal(run(baseline, params, label=LABEL + 1), run(baseline, params))


def test_labels_scale_the_score_of_ncsnv2():
    params = randomised(TINY_V2)
    y, other = run(TINY_V2, params), run(TINY_V2, params, label=jnp.array([3.0, 5.9]))
    sigmas = LEVELS.sigmas
    ratio = np.array([sigmas[0] / sigmas[3], sigmas[4] / sigmas[5]])[:, None, None, None]
    np.testing.assert_allclose(other, y * ratio, rtol=1e-5)


@pytest.mark.parametrize("net", [TINY_NCSN, TINY_V2], ids=["ncsn", "ncsnv2"])
def test_input_in_zero_to_one_is_mapped_to_the_centred_range(net):
    params = randomised(net)
    np.testing.assert_array_equal(run(net, params), run(net.clone(centered=True), params, x=2 * X - 1))


@pytest.mark.parametrize("net", [TINY_NCSN, TINY_V2], ids=["ncsn", "ncsnv2"])
def test_examples_do_not_mix(net):
    params = randomised(net)
    y, moved = run(net, params), run(net, params, x=X.at[1].add(X[0]))
    np.testing.assert_allclose(moved[0], y[0], rtol=1e-5, atol=1e-6)
    assert np.abs(moved[1] - y[1]).max() > 1e-3 * np.abs(y[1]).max()


@pytest.mark.parametrize("net", [TINY_NCSN, TINY_V2], ids=["ncsn", "ncsnv2"])
def test_bfloat16_stays_near_float32(net):
    params = net.init(jax.random.key(0), X, LABEL)["params"]
    y, half = run(net, params), run(net.clone(dtype=jnp.bfloat16), params)
    assert half.dtype == jnp.float32
    assert 1e-5 < np.abs(half - y).max() / np.abs(y).max() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NCSN(4, 6, topology="depper"), "network.topology 'depper'.*'deeper'"),
        (lambda: NCSNv2(4, LEVELS, variant="deep"), "network.variant 'deep'"),
        (lambda: NCSNv2(4, LEVELS, normalization="instance"), "network.normalization 'instance'.*'instance_plus'"),
        (lambda: NCSN(4, 6, activation="eluu"), "network.activation 'eluu'.*'elu'"),
        (lambda: NCSNv2(4, LEVELS, activation="relo"), "network.activation 'relo'.*'relu'"),
    ],
)
def test_unknown_names_are_answered(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_sizes_that_cannot_be_halved_are_answered():
    with pytest.raises(InputError, match="9x9 pixels: this RefineNet needs multiples of 2"):
        NCSN(4, 6).init(jax.random.key(0), jnp.ones((1, 9, 9, 3)), jnp.zeros(1))
