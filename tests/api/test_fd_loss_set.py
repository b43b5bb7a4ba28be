"""The set of FD-loss through the front door and the verbs: six distances of one drawing, the mean of their ratios."""

import dataclasses
import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import score_jax as sj
from score_jax.cli import main as cli
from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import PROTOCOLS, SETS
from score_jax.jobs.extractors import NETWORKS
from tiny import checked

SHAPE = (6, 6, 3)
REAL, FRESH = np.random.default_rng(2).integers(0, 200, (2, 60, *SHAPE), np.uint8)
READ = []


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Linear features in each network's place, other ones for each."""

    def network(name, place):
        def find(path, *, allow_other):
            READ.append(name)
            return place

        def extractor(found, protocol):
            weights = jnp.asarray(np.random.default_rng(found).normal(size=(108, 2 + found)), jnp.float32)

            def apply(params, images):
                return {"features": images.reshape(len(images), -1) @ weights / 100}

            named = "" if name == "inception" else f"{name.removesuffix('_224')}_other"
            return FeatureExtractor(named, apply, lambda x: x.astype(jnp.float32), identity=f"identity {found}")

        return dataclasses.replace(NETWORKS[name], find=find, extractor=extractor, warning=lambda found: "")

    for place, name in enumerate(NETWORKS):
        monkeypatch.setitem(NETWORKS, name, network(name, place))
    READ.clear()


@jax.jit
def draw(key, indices, labels):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
    return jax.vmap(lambda key: jax.random.randint(key, SHAPE, 0, 256, jnp.uint8))(keys)


HOW = dict(reference=REAL, num_samples=40, batch_size=1)


def test_six_distances_of_one_drawing_and_the_mean_of_their_ratios(tmp_path):
    found = sj.evaluate(draw, **HOW, protocol="fd_loss", held_out=FRESH, workdir=tmp_path)
    assert sorted(READ) == sorted(PROTOCOLS[name].network for name in SETS["fd_loss"])
    assert checked(tmp_path / "evaluation_fd_loss.json") == found
    members = [checked(tmp_path / f"evaluation_{name}.json") for name in SETS["fd_loss"]]
    ratios = [next(value for name, value in member.items() if name.startswith("fdr")) for member in members]
    np.testing.assert_allclose(found["fdr6"], np.mean(ratios))
    assert len(set(ratios)) == 6 and min(ratios) > 1 and len(found["measured"]) == 13
    for member in members:
        distance = member["measured"][0]
        assert found[distance] == member[distance] and "c_t" not in member
    alone = sj.evaluate(draw, **HOW, protocol="fd_loss_mae", held_out=FRESH)
    assert alone["fdr_mae_other"] == found["fdr_mae_other"] and alone["fd_mae_other"] == found["fd_mae_other"]
    several = sj.evaluate(draw, **HOW, protocol=["fd_loss", "edm"])
    assert list(several) == [*SETS["fd_loss"], "edm", "fd_loss"]
    assert "fdr6" not in several["fd_loss"] and several["fd_loss"]["fid40"] == found["fid40"]


def test_statistics_are_enough_of_real_images(tmp_path):
    """A file for each network, as the authors publish them, of the reference and of the held-out images."""
    files = {"real": [], "fresh": []}
    for name in SETS["fd_loss"]:
        for which, images in (("real", REAL), ("fresh", FRESH)):
            np.savez(tmp_path / f"{which}.npz", arr_0=images)
            out = tmp_path / f"{which}_{name}.npz"
            arguments = ["fid", str(tmp_path / f"{which}.npz"), f"--save={out}", f"--protocol={name}"]
            assert cli.main(["score_jax", *arguments]) == 0
            with np.load(out) as known:
                np.savez(out, mu=known["mu"], sigma=known["sigma"])
            files[which].append(str(out))
    how = HOW | {"reference": files["real"], "held_out": files["fresh"]}
    found = sj.evaluate(draw, **how, protocol="fd_loss")
    expected = sj.evaluate(draw, **HOW, protocol="fd_loss", held_out=FRESH)
    np.testing.assert_allclose(found["fdr6"], expected["fdr6"], rtol=1e-6)
    with pytest.raises(InputError, match="2 references for 6 protocols"):
        inspect.unwrap(sj.evaluate)(draw, **how | {"held_out": files["fresh"][:2]}, protocol="fd_loss")


def test_the_verb_writes_the_set(tmp_path, capsys, monkeypatch):
    for name, images in (("real", REAL), ("fresh", FRESH)):
        np.savez(tmp_path / f"{name}.npz", arr_0=images)
    arguments = [f"--sampler={__name__}:draw", f"--reference={tmp_path}/real.npz", "--num_samples=40", "--batch_size=1"]
    arguments += ["--protocol=fd_loss", f"--held_out={tmp_path}/fresh.npz", f"--workdir={tmp_path}/out"]
    assert cli.main(["score_jax", "evaluate", *arguments]) == 0
    written = json.loads((tmp_path / "out" / "evaluation_fd_loss.json").read_text())
    printed = capsys.readouterr().out
    assert f"{written['fdr6']:.4f}" in printed.split("fdr6")[1] and printed.count("Written: ") == 7
    assert cli.main(["score_jax", "fid", f"{tmp_path}/real.npz", f"{tmp_path}/fresh.npz", "--protocol=fd_loss"]) == 2
    assert "'fd_loss' is several protocols" in capsys.readouterr().err
