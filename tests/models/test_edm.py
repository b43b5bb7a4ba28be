"""EDM's networks: sizes, names, initialisation; that they equal the originals is for the parity files."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.convert.edm import BUFFERS, dhariwal_unet_table, song_unet_table
from score_jax.errors import InputError
from score_jax.models.blocks.edm_block import UNetBlock
from score_jax.models.unets.edm_dhariwal import DHARIWAL, DhariwalUNet
from score_jax.models.unets.edm_song import SONG, SongUNet

NCSNPP = dict(embedding="fourier", channel_mult_noise=2, encoder="residual", resample_filter=(1.0, 3.0, 3.0, 1.0))
CIFAR = dict(channel_mult=(2, 2, 2), augment_dim=9)
LARGER = dict(augment_dim=9)
SIZE, X = 8, jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
C_NOISE = jnp.array([-1.5, 0.3])
SONG_TINY = SongUNet(
    channels=8, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(4,), num_classes=4, augment_dim=9
)
ADM_TINY = DhariwalUNet(
    channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(8, 4), num_classes=4, augment_dim=9
)
NETWORKS = [
    SONG_TINY,
    SONG_TINY.clone(**NCSNPP),
    SONG_TINY.clone(encoder="skip", decoder="skip", learn_sigma=True),
    ADM_TINY,
]
IDS = ["ddpmpp", "ncsnpp", "skip", "adm"]


def shapes_of(net, size=SIZE):
    x = jnp.zeros((1, size, size, 3))
    return jax.eval_shape(net.init, jax.random.key(0), x, jnp.ones(1))["params"]


def randomised(net):
    """Parameters without the zero initialisation behind which a wrong path would hide."""
    keys = iter(jax.random.split(jax.random.key(1), 300))
    return jax.tree.map(lambda s: 0.2 * jax.random.normal(next(keys), s.shape), shapes_of(net))


def table_of(net, size=SIZE):
    return (song_unet_table if isinstance(net, SongUNet) else dhariwal_unet_table)(net, size)


def run(net, params, **kwargs):
    return jax.jit(lambda: net.apply({"params": params}, X, C_NOISE, **kwargs))()


@pytest.mark.parametrize(
    ("net", "size", "count"),
    [
        (SongUNet(**CIFAR), 32, 55_733_891),
        (SongUNet(**CIFAR, num_classes=10), 32, 55_735_299),
        (SongUNet(**CIFAR, **NCSNPP), 32, 56_397_827),
        (SongUNet(**CIFAR, **NCSNPP, num_classes=10), 32, 56_400_643),
        (SongUNet(**LARGER), 64, 61_805_571),
        (SongUNet(**LARGER, **NCSNPP), 64, 62_761_091),
        (DhariwalUNet(num_classes=1000), 64, 295_899_267),
    ],
)
def test_has_the_published_number_of_parameters(net, size, count):
    shapes = shapes_of(net, size)
    frozen = shapes.pop("fourier", {})  # the original counts the frequencies as a buffer
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count
    assert sum(leaf.size for leaf in jax.tree.leaves(frozen)) == (128 if "fourier" in vars(net).values() else 0)


@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_names_of_the_release_go_there_and_back(net):
    params, table = randomised(net), table_of(net)
    theirs = to_theirs(params, table)
    assert len(theirs) == len(jax.tree.leaves(params))
    buffers = {"u": np.zeros(3), "model.enc.4x4_down.conv0.resample_filter": np.ones((1, 1, 2, 2))}
    back = to_ours(theirs | buffers, params, table, buffers=BUFFERS)
    jax.tree.map(np.testing.assert_array_equal, params, back)


def test_names_are_those_of_the_release():
    shapes = shapes_of(SONG_TINY.clone(**NCSNPP))
    theirs = to_theirs(jax.tree.map(lambda s: np.zeros(s.shape), shapes), table_of(SONG_TINY.clone(**NCSNPP)))
    expected = {
        "model.map_noise.freqs": (8,),
        "model.map_label.weight": (16, 4),
        "model.map_augment.weight": (16, 9),
        "model.map_layer0.weight": (32, 16),
        "model.enc.8x8_conv.weight": (8, 3, 3, 3),
        "model.enc.4x4_down.skip.weight": (8, 8, 1, 1),
        "model.enc.4x4_aux_residual.weight": (8, 3, 3, 3),
        "model.enc.4x4_block0.affine.weight": (16, 32),
        "model.dec.4x4_in0.qkv.weight": (48, 16, 1, 1),
        "model.dec.4x4_in1.norm1.bias": (16,),
        "model.dec.8x8_up.conv0.weight": (16, 16, 3, 3),
        "model.dec.8x8_block1.conv1.weight": (8, 8, 3, 3),
        "model.dec.8x8_aux_conv.weight": (3, 8, 3, 3),
    }
    assert {name: theirs[name].shape for name in expected} == expected


@pytest.mark.parametrize("net", NETWORKS, ids=IDS)
def test_output_is_like_the_image(net):
    y = jax.eval_shape(net.apply, {"params": shapes_of(net)}, X, C_NOISE)
    assert y.shape == (2, 8, 8, 6 if net.learn_sigma else 3) and y.dtype == jnp.float32


@pytest.fixture(scope="module", params=[SONG_TINY, ADM_TINY], ids=["song", "adm"])
def fresh(request):
    """A network of one level, and its initial parameters."""
    net = request.param.clone(channels=64, channel_mult=(1,), num_res_blocks=0, attention_resolutions=())
    return net, jax.jit(net.init)(jax.random.key(0), X, C_NOISE)["params"]


def test_starts_with_almost_no_output(fresh):
    assert np.abs(run(*fresh)).max() < 1e-3


def test_initial_spread_of_the_layers(fresh):
    net, params = fresh
    block = params["middle_block_0"]

    def spread(name, layers=block):
        return np.std(layers[name]["kernel"])

    if isinstance(net, SongUNet):
        assert spread("conv_1") == pytest.approx((1 / (9 * 64)) ** 0.5, rel=0.05)
        assert spread("conv_2") == pytest.approx(1e-5 * (1 / (9 * 64)) ** 0.5, rel=0.05)
        assert spread("qkv") == pytest.approx((0.2 * 2 / (64 + 192)) ** 0.5, rel=0.05)
        assert spread("class_embedding", layers=params) == pytest.approx((2 / (4 + 64)) ** 0.5, rel=0.2)
        assert not np.any(block["conv_1"]["bias"])
    else:
        assert spread("conv_1") == pytest.approx((1 / 3 / (9 * 64)) ** 0.5, rel=0.05)
        assert spread("qkv") == pytest.approx((1 / 3 / 64) ** 0.5, rel=0.05)
        assert spread("class_embedding", layers=params) == pytest.approx(1, rel=0.1)
        assert 0.9 < np.abs(block["conv_1"]["bias"]).max() * (9 * 64) ** 0.5 <= 1
        zero = [block["conv_2"], block["out"], params["conv_out"], params["augment_embedding"]]
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(zero))


@pytest.mark.parametrize("net", [SONG_TINY, ADM_TINY], ids=["song", "adm"])
def test_no_labels_are_zeros_and_labels_act(net):
    params = randomised(net)
    none = run(net, params)
    zeros = run(net, params, label=jnp.zeros((2, 4)), augment_labels=jnp.zeros((2, 9)))
    np.testing.assert_array_equal(none, zeros)
    assert np.abs(none - run(net, params, label=jnp.eye(4)[:2])).max() > 1e-3
    assert np.abs(none - run(net, params, augment_labels=jnp.ones((2, 9)))).max() > 1e-3


@pytest.mark.parametrize("net", [SONG_TINY, ADM_TINY], ids=["song", "adm"])
def test_labels_that_do_not_fit_are_refused(net):
    with pytest.raises(InputError, match=r"Class labels of shape \(2, 5\).*\(2, 4\)"):
        net.init(jax.random.key(0), X, C_NOISE, label=jnp.zeros((2, 5)))
    with pytest.raises(InputError, match="Augmentation labels .* has none"):
        net.clone(augment_dim=0).init(jax.random.key(0), X, C_NOISE, augment_labels=jnp.zeros((2, 9)))


@pytest.mark.parametrize("net", [SONG_TINY, ADM_TINY], ids=["song", "adm"])
def test_label_dropout_drops_in_training_only(net):
    net = net.clone(dropout=0.0, label_dropout=0.5)
    params, labels = randomised(net), jnp.eye(4)[:2]
    kept, dropped = run(net, params, label=labels), run(net, params)
    train = jax.jit(
        lambda key: net.apply({"params": params}, X, C_NOISE, label=labels, train=True, rngs={"dropout": key})
    )
    seen = set()
    for seed in range(12):
        for ours, with_label, without in zip(train(jax.random.key(seed)), kept, dropped, strict=True):
            distances = [np.abs(ours - other).max() for other in (with_label, without)]
            assert min(distances) < 1e-5
            seen.add(int(np.argmin(distances)))
    assert seen == {0, 1}


@pytest.mark.parametrize("net", [SONG_TINY, ADM_TINY], ids=["song", "adm"])
def test_dropout_is_random_in_training(net):
    params = randomised(net)
    train = jax.jit(lambda key: net.apply({"params": params}, X, C_NOISE, train=True, rngs={"dropout": key}))
    assert np.abs(train(jax.random.key(0)) - train(jax.random.key(1))).max() > 1e-3


def test_fourier_frequencies_are_frozen():
    net = SONG_TINY.clone(**NCSNPP)
    params = randomised(net)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(net.apply({"params": p}, X, C_NOISE) ** 2)))(params)
    assert not np.any(gradient["fourier"]["W"])
    assert np.any(gradient["embedding_1"]["kernel"])


def test_where_attention_is():
    attends = {name for name, block in shapes_of(SONG_TINY).items() if "qkv" in block}
    assert attends == {"down_1_block_0", "middle_block_0", "up_1_block_1"}
    # Heads have 64 channels: the first level, with 32, has none.
    attends = {name for name, block in shapes_of(ADM_TINY).items() if "qkv" in block}
    assert attends == {"down_1_block_0", "middle_block_0", "up_1_block_0", "up_1_block_1"}


def test_channels_that_do_not_split_into_heads_are_refused():
    with pytest.raises(InputError, match="200 channels do not split into the 3 heads"):
        shapes_of(ADM_TINY.clone(channels=200))


def test_a_filter_that_cannot_double_is_refused():
    with pytest.raises(InputError, match="resample_filter has 3 taps"):
        SongUNet(resample_filter=(1.0, 2.0, 1.0))


@pytest.mark.parametrize("field", ["embedding", "encoder", "decoder"])
def test_unknown_choices_are_refused(field):
    with pytest.raises(InputError, match=f"network.{field} 'standart'"):
        SongUNet(**{field: "standart"})


@pytest.mark.parametrize(
    "taps", [(1.0, 1.0), (1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 4.0, 5.0), (1.0, 5.0, 10.0, 10.0, 5.0, 1.0)]
)
def test_doubling_is_the_adjoint_of_halving(taps, x64):
    net = SONG_TINY.clone(resample_filter=taps)
    x, y = (jax.random.normal(jax.random.key(seed), (1, size, size, 2)) for seed, size in ((0, 8), (1, 4)))
    np.testing.assert_allclose(4 * jnp.sum(net._down(x) * y), jnp.sum(x * net._up(y)), rtol=1e-12)


@pytest.mark.parametrize("taps", [(1.0, 1.0), (1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 4.0, 5.0)])
def test_the_pyramid_filters_what_it_convolves(taps, x64):
    """The original convolves first, padded for both, and then filters at stride 2."""
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 3, 5))
    half = len(taps) // 2
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = X.astype(jnp.float64)
    wide = jax.lax.conv_general_dilated(x, kernel, (1, 1), [(half, half)] * 2, dimension_numbers=dimensions)
    filters = np.tile((np.outer(taps, taps) / sum(taps) ** 2)[:, :, None, None], (1, 1, 1, 5))
    expected = jax.lax.conv_general_dilated(
        wide, filters, (2, 2), "VALID", dimension_numbers=dimensions, feature_group_count=5
    )

    class Pyramid(SongUNet):
        @nn.compact
        def __call__(self, x):
            return self._down_conv(x, 5, "pyramid")

    params = {"pyramid": {"kernel": kernel, "bias": jnp.zeros(5)}}
    ours = Pyramid(resample_filter=taps).apply({"params": params}, x)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_queries_keys_and_values_alternate_within_a_head(x64):
    """Against attention written out, for a block whose residual branch is 0."""
    block = UNetBlock(channels=8, heads=2, dropout=0.0, design=dataclasses.replace(DHARIWAL, last=SONG.layer))
    x, embedding = jax.random.normal(jax.random.key(0), (1, 2, 2, 8)), jnp.ones((1, 3))
    params = block.init(jax.random.key(1), x, embedding, False)["params"]
    params["conv_2"] = jax.tree.map(jnp.zeros_like, params["conv_2"])
    qkv_layer, out_layer = jax.tree.map(np.asarray, (params["qkv"], params["out"]))
    pixels = np.asarray(x).reshape(4, 8)
    h = pixels.reshape(4, 2, 4)
    h = (h - h.mean((0, 2), keepdims=True)) / np.sqrt(h.var((0, 2), keepdims=True) + 1e-5)
    qkv = (h.reshape(4, 8) @ qkv_layer["kernel"] + qkv_layer["bias"]).reshape(4, 2, 4, 3)
    attended = np.empty((4, 2, 4))
    for head in range(2):
        q, k, v = (qkv[:, head, :, i] for i in range(3))
        weights = np.exp(q @ k.T / 2)
        attended[:, head] = weights / weights.sum(1, keepdims=True) @ v
    expected = pixels + attended.reshape(4, 8) @ out_layer["kernel"] + out_layer["bias"]
    y = block.apply({"params": params}, x, embedding, False)
    np.testing.assert_allclose(y.reshape(4, 8), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("net", [NETWORKS[1], ADM_TINY], ids=["ncsnpp", "adm"])
def test_bfloat16_stays_near_float32(net):
    params = randomised(net)
    full, half = run(net, params), run(net.clone(dtype=jnp.bfloat16), params)
    assert half.dtype == jnp.float32
    assert 1e-6 < np.abs(full - half).max() / np.abs(full).max() < 0.1
