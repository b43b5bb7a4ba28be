"""A person's own images in three commands, as they are typed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from mixed_pictures import make_mixed_pictures
from PIL import Image as PILImage

import tiny
from score_jax.cli import own_images
from score_jax.errors import InputError
from tiny import environment

SMALL = (
    "--config.network.channels=8",
    "--config.network.channel_mult=(1,)",
    "--config.training.batch_size=16",
    "--config.training.sample_every=0",
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_mixed_folder_trains_samples_by_class_and_is_measured(here, capsys, monkeypatch):
    tiny.train_classifiers_briefly(monkeypatch)
    folder = make_mixed_pictures(here / "pictures", 32)
    few = ("--config.training.steps=6", "--config.training.log_every=2", *SMALL)
    assert tiny.here("train", f"--data={folder}", *few) == 0
    said = capsys.readouterr().out
    assert "65 images, 2 classes" in said and "1 damaged ('red/damaged.jpg')" in said and "Expected to take" in said
    config = json.loads((here / "runs" / "pictures" / "config.json").read_text())
    assert config["data"]["damaged"] == "leave_out" and config["network"]["num_classes"] == 3
    assert config["loss"]["condition_dropout"] == 0.1 and config["training"]["steps"] == 6
    kept = json.loads((here / "runs" / "pictures" / "data.json").read_text())
    assert kept["classes"] == ["green", "red"] and kept["count"] == 52
    by_class = [line.split()[3:] for line in said.splitlines() if line.startswith("  python -m score_jax")]
    assert [words[0] for words in by_class] == ["sample", "sample", "evaluate"]
    assert tiny.here(*by_class[1], "--num_samples=8", "--steps=3") == 0
    samples = np.load(here / "runs" / "pictures" / "class_0" / "samples.npz")
    assert samples["arr_0"].shape == (8, 16, 16, 3) and set(samples["arr_1"]) == {0}
    assert tiny.here(*by_class[2], "--num_samples=16", "--steps=3") == 0
    assert json.loads((here / "runs" / "pictures" / "evaluation.json").read_text())
    capsys.readouterr()
    assert tiny.here("train", f"--data={folder}", "--config.training.steps=6") == 0
    assert "Goes on with the config of runs/pictures." in capsys.readouterr().out


def command(*words):
    return own_images.expanded(["train", *map(str, words)])


def test_what_is_typed_stands_before_what_was_found(here, capsys):
    folder = make_mixed_pictures(here / "pictures", 3)
    words = command(f"--data={folder}", "--config.data.flip=True", "--config.data.image_size=8", "--workdir=elsewhere")
    assert words[0] == "train" and "--workdir=elsewhere" in words and words[1] == "--config=own/small"
    assert [word for word in words if "image_size" in word] == ["--config.data.image_size=8"]
    assert "--config.network.num_classes=3" in words and not [word for word in words if word.startswith("--data")]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("The same as: ")]
    assert line.startswith("The same as: python -m score_jax train --config=own/small --workdir=elsewhere ")


def test_a_config_that_is_given_is_told_the_data_alone(here):
    folder = make_mixed_pictures(here / "pictures", 3)
    words = command("--data", folder, "--config=configs/demo/mnist.py", "--config.data.eval_split=all")
    keys = [word.partition("=")[0] for word in words[1:]]
    assert "--workdir=runs/pictures" in words and "--config=configs/demo/mnist.py" in words
    assert "--config.data.name" in keys and "--config.network.num_classes" not in keys
    assert [word for word in words if "eval_split" in word] == ["--config.data.eval_split=all"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=configs/demo/mnis.py"], "mnis"),
        (["--config=configs/demo/mnist.py", "--config.network.chanels=8"], "chanels"),
        (["--workdir=run\udcff"], r"run\\udcff': the path is no text in UTF-8"),
        (["--workdir=notes.txt/run"], "notes.txt is a file"),
    ],
)
def test_what_is_wrong_beside_the_images_is_said_before_they_are_read(here, words, message, monkeypatch):
    make_mixed_pictures(here / "pictures", 3)
    (here / "notes.txt").write_text("x")
    monkeypatch.setattr(own_images, "look_at", lambda *_: pytest.fail("the images were read"))
    with pytest.raises(InputError, match=message):
        command("--data=pictures", *words)


def test_labels_of_a_file(here, capsys):
    for i in range(4):
        (here / "flat").mkdir(exist_ok=True)
        PILImage.new("L", (8, 8), i).save(here / "flat" / f"{i}.png")
    (here / "labels.csv").write_text("".join(f"{i},{'odd' if i % 2 else 'even'}\n" for i in range(4)))
    words = command("--data=flat", "--labels=labels.csv")
    assert f"--config.data.labels={here / 'labels.csv'}" in words and "--config.data.channels=1" in words
    assert "2 classes (2 each): 0 'even', 1 'odd'" in capsys.readouterr().out
    (here / "labels.csv").write_text("0,even\n")
    with pytest.raises(InputError, match="3 of the 4 images have no class in "):
        command("--data=flat", "--labels=labels.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labels=x.csv"], "--labels is the classes of the images of --data"),
        (["--data=nowhere"], "No folder .*nowhere: expected a folder of images, or a .zip"),
        (["--data=empty"], "No images in .*empty"),
        (["--data=."], "The workdir runs/.* lies in the folder of the images"),
    ],
)
def test_what_is_missing_is_one_line(here, words, message):
    (here / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        command(*words)


def test_without_data_nothing_changes():
    argv = ["train", "--config=x.py", "--workdir=y"]
    assert own_images.expanded(argv) == argv


@pytest.mark.parametrize("words", [("--data=",), ("--data",), ("--workdir=x", "--data=")])
def test_data_without_a_value_is_said(words):
    with pytest.raises(InputError, match="--data has no value: give --data=FOLDER"):
        command(*words)


def test_of_two_values_the_last_holds(here):
    make_mixed_pictures(here / "pictures", 3)
    words = command("--data=nowhere", "--data", here / "pictures", "--workdir=a", "--workdir=b")
    assert f"--config.data.name=folder:{here / 'pictures'}" in words and words[2] == "--workdir=b"


def test_a_workdir_below_a_file_is_no_damaged_workdir(here, capsys):
    folder = make_mixed_pictures(here / "pictures", 3)
    (here / "notes.txt").write_text("x")
    for workdir in ("notes.txt", "notes.txt/run"):
        assert tiny.here("train", f"--data={folder}", f"--workdir={workdir}") == 2
        assert f"--workdir={workdir}: notes.txt is a file; give a folder" in capsys.readouterr().err


def test_images_have_one_channel_or_three(here, capsys):
    folder = make_mixed_pictures(here / "pictures", 3)
    assert tiny.here("train", f"--data={folder}", "--config.data.channels=2") == 2
    assert "data.channels=2: give 1, for grey images, or 3" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_names_that_are_no_text_are_printed_escaped(here):
    folder = os.fsencode(here) + b"/caf\xe9"
    os.mkdir(folder)
    for i in range(3):
        PILImage.new("L", (8, 8), i).save(here / "one.png")
        os.rename(here / "one.png", folder + b"/%d.png" % i)
    words = ["train", b"--data=" + folder, f"--workdir={here / 'run'}", "--config.training.steps=0"]
    env = {**environment(), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "score_jax", *words], env=env, capture_output=True, timeout=120)
    assert done.returncode == 2 and b"caf\\udce9: 3 images" in done.stdout and b"Traceback" not in done.stderr
