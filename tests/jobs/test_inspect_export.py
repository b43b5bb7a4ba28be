"""What a checkpoint holds, said without its config; and its parameters alone, in either form."""

import dataclasses
import json
import runpy
import shlex
import shutil
import subprocess

import jax
import numpy as np
import pytest

from score_jax.builder import experiment as build
from score_jax.builder.workdirs import load_config
from score_jax.cli.main import main
from score_jax.errors import InputError
from score_jax.jobs import analytic_variance
from score_jax.jobs.export import export
from score_jax.jobs.inspect import arrays_of, inspect
from score_jax.jobs.train import restore_params, restore_trained
from score_jax.runtime.sharding import make_mesh
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.run_config import save_config
from tiny import ROOT, command, environment, write_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir with two checkpoints of an untrained network; the average differs from the parameters."""

    folder = tmp_path_factory.mktemp("inspect")
    config = runpy.run_path(str(write_config(folder)))["get_config"]()
    experiment = build(config)
    state = jax.jit(experiment.create_state)()
    state = dataclasses.replace(state, ema_params=jax.tree.map(lambda leaf: leaf + 1, state.params))
    save_config(folder / "run", config)
    about = {"config": config.to_dict(), "score_jax": "0", "jax": "0"}
    with Checkpoints((folder / "run" / "checkpoints").absolute(), about=about) as checkpoints:
        for step in (2, 4):
            checkpoints.save(dataclasses.replace(state, step=np.int32(step)), {"batches": step})
        checkpoints.wait()
    return folder / "run"


@pytest.fixture
def damaged(run, tmp_path):
    copy = tmp_path / "damaged"
    shutil.copytree(run, copy)
    files = [file for file in (copy / "checkpoints" / "4" / "state").rglob("d/*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 10] ^= 1  # arrays lie at the head; what follows may be nodes that no reader sees any longer
    largest.write_bytes(content)
    return copy


def test_each_checkpoint_is_told(run):
    found = inspect(str(run))
    assert [row["step"] for row in found["checkpoints"]] == [4, 2]
    newest = found["checkpoints"][0]
    assert newest["whole"] and newest["checked"] and newest["finite"]
    assert (newest["network"], newest["data"], newest["batches"]) == ("ncsnpp", "dead_leaves", 4)
    count = sum(leaf.size for leaf in jax.tree.leaves(build(load_config(run)).network.shapes()))
    assert newest["groups"]["params"]["elements"] == newest["groups"]["ema_params"]["elements"] == count
    assert newest["groups"]["opt_state"]["elements"] > 2 * count


@pytest.mark.parametrize("name", ["", "checkpoints", "checkpoints/2"])
def test_workdir_folder_and_checkpoint_can_be_named(run, name, capsys):
    assert main(["", "inspect", str(run / name)]) == 0
    shown = capsys.readouterr().out
    assert ("whole, 2 batches" in shown) and (("whole, 4 batches" in shown) == (name != "checkpoints/2"))


def test_damage_is_said_and_is_the_exit_code(damaged, capsys):
    assert main(["", "inspect", str(damaged), "--json"]) == 1
    newest, older = json.loads(capsys.readouterr().out)["checkpoints"]
    assert not newest["whole"] and "damaged" in newest["problem"] and older["whole"]
    assert main(["", "inspect", str(damaged), "--step=4"]) == 2


def test_arrays_are_listed(run):
    listed = {name: (shape, dtype) for name, shape, dtype in arrays_of(str(run))}
    assert listed["params.conv_in.kernel"] == ((3, 3, 1, 8), "float32") and listed["step"] == ((), "int32")


def test_what_is_not_there_is_said(tmp_path, run):
    with pytest.raises(InputError, match="expected a workdir"):
        inspect(str(tmp_path))
    with pytest.raises(InputError, match="No checkpoint 3"):
        inspect(str(run), 3)


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
@pytest.mark.parametrize("averaged", [True, False])
def test_exported_parameters_are_those_of_the_run(run, tmp_path, form, averaged):
    count = export(run, tmp_path / "out", form, averaged=averaged)
    config = load_config(tmp_path / "out")
    experiment, mesh = build(config), make_mesh()
    found, _ = restore_params(config, experiment, tmp_path / "out", mesh)
    expected, _ = restore_trained(config, experiment, run, mesh, averaged=averaged)
    assert count == sum(leaf.size for leaf in jax.tree.leaves(found))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    facts = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (facts["step"], facts["parameters"]) == (4, "ema" if averaged else "raw")


def test_what_was_measured_of_the_parameters_goes_with_them(run, tmp_path):
    """And nothing that was measured of others."""
    workdir, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run, workdir)
    (workdir / analytic_variance.FOLDER).mkdir()
    about = {"parameters": "ema", "alphas": [0.5, 0.1], "data": "x"}
    for step, what in ((4, "ema"), (4, "raw"), (2, "ema")):
        of = about | {"step": step, "parameters": what}
        moments = {"times": [2.0, 1.0], "mean_squared_eps": [0.5, 0.25], "mean_squared_x0": 1.0 + step}
        (workdir / analytic_variance.FOLDER / f"{step}_{what}.json").write_text(json.dumps(moments | {"of": of}))
    (out / analytic_variance.FOLDER).mkdir(parents=True)
    (out / analytic_variance.FOLDER / "0_of_others.json").write_text("{}")
    export(workdir, out, "safetensors")
    (file,) = (out / analytic_variance.FOLDER).iterdir()
    found = json.loads(file.read_text())
    assert file.name.startswith("0_") and found["mean_squared_x0"] == 5 and found["of"] == about | {"step": 0}


def test_export_goes_over_no_training(run):
    with pytest.raises(InputError, match="export into another folder"):
        export(run, run, "safetensors")


@pytest.mark.parametrize("form", ["safetensors", "orbax"])
def test_weights_of_another_network_are_refused(run, tmp_path, form):
    export(run, tmp_path / "out", form)
    config = load_config(tmp_path / "out").copy_and_resolve_references()
    with config.unlocked():
        config.network.channels = 16
    with pytest.raises(InputError, match="of another network"):
        restore_params(config, build(config), tmp_path / "out", make_mesh())


@pytest.mark.slow
def test_a_file_that_cannot_be_written_ends_training_with_one_line(tmp_path):
    """The limit on the size of files stands for a full disk."""
    config = write_config(tmp_path)
    train = command("train", f"--config={config}", f"--workdir={tmp_path / 'run'}")
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 40; exec {shlex.join(train)}"],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("score_jax train")]
    errors = [line for line in said if "Cannot write a checkpoint" in line]  # beside what a slow disk may make it say
    assert len(errors) == 1 and said[-1] == errors[0] and "goes on from step 0" in errors[0], said
    assert f"{ROOT / 'score_jax'}" not in done.stderr  # no traceback of ours; tensorstore's threads print their own


def test_averaged_parameters_alone_are_not_called_raw(run, tmp_path):
    export(run, tmp_path / "out", "safetensors")
    with pytest.raises(InputError, match="only averaged parameters"):
        export(tmp_path / "out", tmp_path / "again", "safetensors", averaged=False)
    with pytest.raises(InputError, match="no step 9"):
        export(tmp_path / "out", tmp_path / "again", "safetensors", step=9)
    assert not (tmp_path / "again").exists()
